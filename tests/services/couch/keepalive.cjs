// The server dies of an unhandled rejection (a filter that it does not know is one): keep it up and say so.
for (const event of ["uncaughtException", "unhandledRejection"])
  process.on(event, error => console.error(event, error && error.message))
