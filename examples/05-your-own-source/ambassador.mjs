// The source contract in twenty lines, with nothing but Node: every line of items.txt is an item.
import { createServer } from "node:http";
import { readFileSync } from "node:fs";

const file = new URL("items.txt", import.meta.url);
const lines = () => [...new Set(readFileSync(file, "utf8").split("\n").filter(Boolean))];
const status = (code, reason, message) => [code, { kind: "Status", apiVersion: "v1", status: "Failure", reason, message, code }];

function answer(method, path) {
  if (method !== "GET" && method !== "HEAD") return status(405, "MethodNotAllowed", "only GET is answered here");
  if (path === "/healthz") return [200, {}];
  const items = lines(); // throws where the file can't be read: an error is never an empty list
  if (path === "/readyz") return [200, {}];
  const rest = /^(?:\/api\/v1)?\/items(?:\/(.+))?$/s.exec(path);
  if (!rest) return status(404, "NotFound", "there is nothing here; the list is at /api/v1/items");
  if (rest[1] === undefined) return [200, { kind: "ItemList", apiVersion: "v1", items }];
  let name;
  try { name = decodeURIComponent(rest[1]); } catch { return status(400, "BadRequest", "the name is not UTF-8"); }
  if (name.includes("\0")) return status(400, "BadRequest", "a name holds no NUL");
  return items.includes(name) ? [200, { kind: "Item", apiVersion: "v1", data: { line: name } }]
    : status(404, "NotFound", "there is no such item");
}

createServer((request, response) => {
  let found;
  try { found = answer(request.method, request.url.split("?")[0]); } catch (error) { found = status(503, "ServiceUnavailable", error.message); }
  const body = JSON.stringify(found[1]);
  const headers = { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(body) };
  response.writeHead(found[0], found[0] === 405 ? { ...headers, Allow: "GET, HEAD" } : headers);
  response.end(request.method === "HEAD" ? undefined : body);
}).listen(Number(process.env.LISTEN_PORT || 8080), "127.0.0.1");
