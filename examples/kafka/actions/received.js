// A record of the topic: its value's members, or `data` where the value is no object; its key,
// topic, partition and offset are attributes of the event.
function main(args) {
  const { __ce: event, ...value } = args;
  return { key: event.subject, value, offset: event.offset };
}
