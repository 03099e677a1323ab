// Makes calls of OpenWhisk's client, one after the other, and prints what came of each.
const openwhisk = require('openwhisk');

async function main() {
  const client = openwhisk({ apihost: process.env.API_HOST, api_key: process.env.API_KEY });
  const outcomes = [];
  for (const [resource, method, options] of JSON.parse(process.argv[2])) {
    try {
      outcomes.push({ ok: await client[resource][method](options) });
    } catch (error) {
      outcomes.push({ failed: { statusCode: error.statusCode, error: error.error, message: error.message } });
    }
  }
  process.stdout.write(JSON.stringify(outcomes));
}

main();
