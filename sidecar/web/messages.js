// The page /dashboard/messages.

import { loadChart } from './chart.js';
import { showFilters } from './filters.js';
import { MessageList } from './message_list.js';
import { followDetail, openDetail } from './message_detail.js';
import { byId } from './dom.js';
import { startPage } from './page.js';

const CHART_MS = 2000; // the chart is loaded at most so often

const list = new MessageList(byId('messages'), openDetail);
showFilters(byId('filters'), (filters) => list.filter(filters));

let chartTimer = null;
function chartSoon() {
  chartTimer ??= setTimeout(() => {
    chartTimer = null;
    loadChart(byId('chart')).catch(() => {}); // the connection's state is told elsewhere
  }, CHART_MS);
}

async function load() {
  await Promise.all([loadChart(byId('chart')), list.load()]);
  followDetail();
}

function change(kind, data) {
  if (kind !== 'message') return;
  list.changed(data.id);
  followDetail(data.id);
  chartSoon();
}

startPage({ load, change });
