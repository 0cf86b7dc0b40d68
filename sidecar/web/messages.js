// The page /dashboard/messages.

import { Chart } from './chart.js';
import { byId } from './dom.js';
import { showFilters } from './filters.js';
import { openDetail } from './message_detail.js';
import { MessageList } from './message_list.js';
import { refreshFollowed } from './message_view.js';
import { startPage } from './page.js';
import { tellFailure } from './toast.js';

const CHART_MS = 2000; // the chart is loaded at most so often

const list = new MessageList(byId('messages'), openDetail);
const chart = new Chart(byId('chart'));
let chartTimer = null;

function loadChartSoon() {
  chartTimer ??= setTimeout(() => {
    chartTimer = null;
    chart.load().catch(() => {}); // the next change loads it again
  }, CHART_MS);
}

async function change(kind, data) {
  if (kind !== 'message') return;
  list.changed(data.id);
  loadChartSoon();
  await refreshFollowed(data.id);
}

showFilters(byId('filters'), (filters) => list.filter(filters).catch(tellFailure));
startPage({ load: () => Promise.all([chart.load(), list.load(), refreshFollowed()]), change });
