// Token of the admin port: asked of a person, kept until the tab is closed, sent with every request, never in an address.

import { say } from "./dom.js";

const KEY = "konnectivity-admin-token";
const TENANT = "konnectivity-admin-tenant"; // the only tenant that the token covers
const WORDS = /^[\x21-\x7e]+$/;

const at = (id) => document.getElementById(id);
let locked = false;
let token = remembered(KEY);

// Answer 401 or 403: the request needs a token, or another one.
export class Refused extends Error {
  constructor(status) {
    super(`status ${status}`);
    this.status = status;
  }
}

export function headers() {
  return token ? { Authorization: `Bearer ${token}` } : {};
}

// Whether a person has to give a token before anything is asked again.
export function isLocked() {
  return locked;
}

// Name of the only tenant that the token covers; empty: it covers everything.
export function onlyTenant() {
  return remembered(TENANT);
}

export function coversOnly(tenant) {
  remember(TENANT, tenant);
}

// Shows the field for a token if an error is an answer that asks for one, and returns whether it is.
export function asksForToken(error) {
  if (!(error instanceof Refused)) return false;
  const wrong = "The server does not accept this token.";
  const other = "This token does not cover this page: it belongs to another tenant.";
  lock(error.status === 403 ? other : token ? wrong : "This server asks for a token.");
  if (error.status === 401) forget();
  return true;
}

// Shows the page, whose data the server has given.
export function granted() {
  if (document.body.classList.contains("locked")) document.body.classList.remove("locked");
  at("access").hidden = true;
  at("forget").hidden = token === "";
}

function lock(why) {
  locked = true;
  document.body.classList.add("locked");
  document.body.classList.remove("stale");
  at("lost").hidden = true;
  at("live").className = "live";
  say(at("live"), "Locked");
  at("access").hidden = false;
  at("forget").hidden = true;
  say(at("why"), why);
  at("token").value = "";
  at("token").focus();
}

function forget() {
  token = "";
  remember(KEY, "");
  remember(TENANT, "");
}

// Lets a person give a token, or take it back; `again` is called to ask the server with it.
export function useToken(again) {
  at("access").addEventListener("submit", (event) => {
    event.preventDefault();
    const given = at("token").value.trim();
    if (!WORDS.test(given)) {
      say(at("why"), "A token has printable ASCII characters without spaces.");
      return;
    }
    forget();
    token = given;
    remember(KEY, given);
    locked = false;
    again();
  });
  at("forget").addEventListener("click", () => {
    forget();
    lock("The token is forgotten.");
  });
}

function remembered(key) {
  try {
    return sessionStorage.getItem(key) ?? "";
  } catch {
    return ""; // the browser stores nothing
  }
}

function remember(key, value) {
  try {
    if (value) sessionStorage.setItem(key, value);
    else sessionStorage.removeItem(key);
  } catch {
    // the browser stores nothing
  }
}
