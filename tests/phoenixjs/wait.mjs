// Waiting for what happens elsewhere, always with a deadline.

const every = 20;

/** eventually polls until check returns something true, and returns that. */
export async function eventually(what, check, milliseconds = 10_000) {
  const deadline = Date.now() + milliseconds;
  for (;;) {
    const result = await check();
    if (result) return result;
    if (Date.now() > deadline) throw new Error(`not within ${milliseconds} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, every));
  }
}

/** within fails when a promise takes too long. */
export async function within(what, promise, milliseconds = 10_000) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${milliseconds} ms: ${what}`)), milliseconds);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
