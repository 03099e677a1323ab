// Says what changed in a document, by the event's own before and after.
function main({ id, doc, previous, deleted }) {
  if (deleted) return { text: `${id} is gone` };
  if (!previous) return { text: `${id} is new: ${doc.count}` };
  return { text: `${id}: ${previous.count} → ${doc.count}` };
}
