// A reporter for node --test that writes what `go test -json` would write, so
// that one runner sums up all tests.

const packageName = "github.com/skein-mesh/skein/tests/phoenixjs";

export default async function* test2json(events) {
  const began = Date.now();
  const path = []; // names of the tests that are open, outermost first
  let failed = false;

  const line = (event) => `${JSON.stringify({ Time: new Date().toISOString(), Package: packageName, ...event })}\n`;
  yield line({ Action: "start" });
  for await (const { type, data } of events) {
    if (type === "test:start") {
      path.length = data.nesting;
      path.push(data.name.replaceAll("/", "|"));
    } else if (type === "test:pass" || type === "test:fail") {
      path.length = data.nesting + 1;
      const bad = type === "test:fail";
      failed ||= bad;
      if (data.details.type === "suite" && !bad) continue;
      const test = path.join("/").replaceAll(" ", "_");
      const skipped = data.skip !== undefined || data.todo !== undefined;
      yield line({ Action: "run", Test: test });
      if (bad) yield line({ Action: "output", Test: test, Output: `    ${data.file}:${data.line}: ${reason(data.details.error)}\n` });
      yield line({ Action: bad ? "fail" : skipped ? "skip" : "pass", Test: test, Elapsed: data.details.duration_ms / 1000 });
    } else if (type === "test:stdout" || type === "test:stderr") {
      yield line({ Action: "output", Output: data.message });
    }
  }
  yield line({ Action: failed ? "fail" : "pass", Elapsed: (Date.now() - began) / 1000 });
}

function reason(error) {
  const cause = error?.cause ?? error;
  return String(cause?.stack ?? cause);
}
