// Requests to the server. Texts in the answers may be from peers: invisible characters are written as escapes.
// The paths are relative, so that the page also works behind a proxy with a prefix.

import { Refused, headers } from "./access.js";

const TIMEOUT_MS = 5000;
const UNSEEN = /[\p{C}\p{Zl}\p{Zp}]/gu; // controls, bidirectional overrides, zero-width, surrogates, separators

// Returns the text with each invisible character as an escape, such as \u202e.
export function visible(text) {
  return text.replace(UNSEEN, (char) => `\\u${char.codePointAt(0).toString(16).padStart(4, "0")}`);
}

// Tenant that the page shows, of a server of many tenants; empty: the server serves one cluster.
export const tenant = new URLSearchParams(location.search).get("tenant") ?? "";

export async function ask(path, parameters = {}) {
  const query = new URLSearchParams(tenant ? { ...parameters, tenant } : parameters).toString();
  const answer = await fetch(`api/v1/${path}${query ? `?${query}` : ""}`, {
    cache: "no-store",
    credentials: "omit",
    headers: headers(),
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  if (answer.status === 401 || answer.status === 403) throw new Refused(answer.status);
  const found = JSON.parse(await answer.text(), (_, value) => (typeof value === "string" ? visible(value) : value));
  if (!answer.ok) throw new Error(found.error ?? `status ${answer.status}`);
  return found;
}
