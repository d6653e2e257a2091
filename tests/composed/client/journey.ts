// A client that knows the service by its schema alone. Run with the address of freshly seeded data.
import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

const baseUrl = process.argv[2];
assert(baseUrl);
const api = createClient<paths>({ baseUrl });

const signedIn = await api.POST("/api/auth/jwt/token/", {
  body: { email: "ada@example.com", password: "demo-password" },
});
assert(signedIn.data);
api.use({
  onRequest({ request }) {
    request.headers.set("Authorization", `Bearer ${signedIn.data.access}`);
    return request;
  },
});

const me = await api.GET("/api/v1/me");
assert.equal(me.data?.email, "ada@example.com");

const organization = await api.POST("/api/v1/organizations", { body: { name: "Generated" } });
assert(organization.data);
const header = { "X-Organization-ID": organization.data.id };

// Twice with one key: one customer.
const wanted = { name: "Milton", email: "milton@example.com" };
const create = () =>
  api.POST("/api/v1/customers", {
    params: { header: { ...header, "Idempotency-Key": "generated-client-1" } },
    body: wanted,
  });
const [customer, again] = [await create(), await create()];
assert(customer.data && again.data);
assert.deepEqual(again.data, customer.data);
assert.equal(again.response.headers.get("Idempotent-Replayed"), "true");

const customerId: string = customer.data.id;
for (const number of ["G-1", "G-2", "G-3"]) {
  const invoice = await api.POST("/api/v1/invoices", {
    params: { header },
    body: {
      number,
      customer: customerId,
      issued_on: "2026-11-01",
      due_on: "2026-12-01",
      lines: [{ description: "Consulting", quantity: "3", unit_price: "120.00" }],
    },
  });
  assert.equal(invoice.data?.total, "360.00");
}

// All pages of a filtered and sorted list.
const numbers: string[] = [];
let cursor: string | undefined;
do {
  const page: { data?: components["schemas"]["PaginatedInvoiceList"] } = await api.GET("/api/v1/invoices", {
    params: { header, query: { sort: ["-number"], "filter[status]": "draft", limit: 2, cursor } },
  });
  assert(page.data);
  numbers.push(...page.data.data.map((invoice) => invoice.number));
  cursor = page.data.meta.next ?? undefined;
} while (cursor);
assert.deepEqual(numbers, ["G-3", "G-2", "G-1"]);

// A payload is typed by the notification's type; one that the schema does not know has some object.
type Notification = components["schemas"]["NotifyNotification"];
type Known = components["schemas"]["NotifyKnownNotification"];
const known = (notification: Notification): notification is Known => notification.type === "security.new_device";
await api.POST("/api/auth/jwt/token/", {
  body: { email: "ada@example.com", password: "demo-password" },
  headers: { "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/130.0" },
});
const inbox = await api.GET("/api/v1/notifications");
const devices: string[] = [];
for (const notification of inbox.data?.data ?? []) {
  if (known(notification) && notification.type === "security.new_device") devices.push(notification.payload.device);
}
assert.deepEqual(devices, ["Firefox on Linux"]);

// A mistake is a problem, typed.
const refused = await api.GET("/api/v1/invoices", { params: { header, query: { cursor: "made-up" } } });
const problem: components["schemas"]["Problem"] | undefined = refused.error;
assert.equal(problem?.code, "invalid_cursor");
assert.equal(problem?.errors[0]?.parameter, "cursor");

const gone = await api.DELETE("/api/v1/organizations/{organization_id}", {
  params: { path: { organization_id: organization.data.id } },
});
assert.equal(gone.response.status, 204);
console.log("The journey is complete.");
