// The dispatcher's own calls, made from here instead of by byocd.

// Claims at most `slots` messages and says that they were accepted; answers how many. `times` takes milliseconds: { claim: [], record: [] }.
export async function oneBatch(db, dispatcher, slots, times) {
  const begin = performance.now();
  const jobs = await db.rows(`SELECT claim_id, org_id, id, attempt FROM byoc.claim_jobs($1, $2, '30 s')`, [dispatcher, slots]);
  const claimed = performance.now();
  const outcomes = jobs.map((job) => ({
    ...job, outcome: 'accepted', provider_sid: `SM${job.id.replaceAll('-', '')}`, provider_status: 'queued', segments: 1, duration_ms: 1,
  }));
  const recording = performance.now();
  if (jobs.length > 0) await db.query('SELECT byoc.record_outcomes($1::jsonb)', [outcomes]);
  times?.claim.push(claimed - begin);
  times?.record.push(performance.now() - recording);
  return jobs.length;
}
