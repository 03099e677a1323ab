// Says in a sentence what happened. `__ce` holds the event's attributes, the rest is its data.
function main({ __ce, __ow_headers, ...data }) {
  if (__ce && __ce.type === 'org.evoke.alarm.tick') {
    const late = Date.parse(data.actual) - Date.parse(data.scheduled)
    return { text: `tick of ${data.scheduled.slice(11, 19)}, ${late} ms late` }
  }
  const { item = 'something', count = 1 } = data
  console.log(`order ${__ce ? __ce.id : 'without an id'} from ${__ce ? __ce.source : 'somewhere'}`)
  return { text: `${count} × ${item}` }
}
