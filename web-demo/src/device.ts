// Which device this tab is: an id that survives a reload and is never shared with another tab.

const KEY = "tidegate-demo:device";

/**
 * The tab's device id. A duplicated tab gets a copy of the session storage, id included; the lock that the first tab
 * holds on its id tells, and the copy draws a new one.
 */
export async function claimDeviceId(): Promise<string> {
  const kept = sessionStorage.getItem(KEY);
  if (kept && (await tryHold(kept))) return kept;
  const drawn = `web-${crypto.randomUUID().slice(0, 13)}`;
  sessionStorage.setItem(KEY, drawn);
  await tryHold(drawn);
  return drawn;
}

/** Holds the lock on an id until the page goes. @returns false when another tab has it */
function tryHold(id: string): Promise<boolean> {
  if (!navigator.locks) return Promise.resolve(true);
  return new Promise((resolve) => {
    // A page that is being reloaded may let go a moment after its successor starts.
    const signal = AbortSignal.timeout(RELOAD_GRACE_MS);
    navigator.locks
      .request(`tidegate-demo:${id}`, { signal }, () => {
        resolve(true);
        return new Promise(() => {});
      })
      .catch(() => resolve(false));
  });
}

const RELOAD_GRACE_MS = 1_000;
