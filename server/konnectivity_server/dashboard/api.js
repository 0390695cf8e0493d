// Asks the server. The paths are relative, so that the page also works behind a proxy with a prefix.

const TIMEOUT_MS = 5000;

export async function ask(path, parameters = {}) {
  const query = new URLSearchParams(parameters).toString();
  const answer = await fetch(`api/v1/${path}${query ? `?${query}` : ""}`, {
    cache: "no-store",
    credentials: "omit",
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.error ?? `status ${answer.status}`);
  return found;
}
