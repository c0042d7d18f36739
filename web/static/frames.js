// When to draw: once a frame at most, and no oftener than asked, however many messages come in between.

/** Return a function that asks for DRAW to be called, at least so many milliseconds apart as EVERY_MS answers then. */
export function batched(draw, everyMs = () => 0) {
  let waiting = false;
  let last = -Infinity;
  const run = () => {
    waiting = false;
    last = performance.now();
    draw();
  };
  return () => {
    if (waiting) return;
    waiting = true;
    const restMs = last + everyMs() - performance.now();
    if (restMs > 0) setTimeout(() => requestAnimationFrame(run), restMs);
    else requestAnimationFrame(run);
  };
}
