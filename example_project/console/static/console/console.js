"use strict"

// Signs in, shows the inbox and updates it over the socket. Uses textContent, because names may contain markup.
const api = "/api/v1/notifications"
const rows = new Map()
let access, refresh, socket, newest = 0, since, wait = 500, updates = 0, title = document.title
// The flags of the signed-in person, by their keys, and the request for them.
let flags = new Map(), flagsRequest = Promise.resolve(), flagsWaiting = false

const element = id => document.getElementById(id)

async function call(path, method = "GET", body = undefined, again = true) {
  const answer = await fetch(path, {
    method,
    headers: {"Content-Type": "application/json", ...(access && {Authorization: `Bearer ${access}`})},
    body: body && JSON.stringify(body),
  })
  if (answer.status === 401 && refresh && again && await renew()) return call(path, method, body, false)
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status}`)
  return answer.status === 204 ? null : answer.json()
}

async function renew() {
  const answer = await fetch("/api/auth/jwt/refresh/", {
    method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify({refresh}),
  })
  if (!answer.ok) return false
  ({access, refresh} = await answer.json())
  return true
}

function badge({unread, capped}) {
  updates += 1
  element("unread").textContent = unread ? `${unread}${capped ? "+" : ""}` : ""
  showTitle()
}

function showTitle() {
  const unread = element("unread").textContent
  document.title = flags.get("unread-in-title") && unread ? `(${unread}) ${title}` : title
}

// The browser sends the ETag of its last answer, so most of these requests are 304.
async function loadFlags() {
  const {data} = await call("/api/v1/features")
  flags = new Map(data.map(flag => [flag.key, flag.value]))
  showTitle()
}

// Requests follow each other, so that no earlier answer replaces a later one. While flags cannot be read, the page keeps
// the last ones.
function refreshFlags() {
  if (flagsWaiting) return
  flagsWaiting = true
  flagsRequest = flagsRequest.then(() => {
    flagsWaiting = false
    return loadFlags()
  }).catch(() => {})
}

function show(notification) {
  rows.set(notification.id, notification)
  newest = Math.max(newest, notification.id)
  let item = document.querySelector(`li[data-id="${notification.id}"]`)
  if (!item) {
    item = document.createElement("li")
    item.dataset.id = notification.id
    const next = [...element("notifications").children].find(other => Number(other.dataset.id) < notification.id)
    element("notifications").insertBefore(item, next ?? null)
  }
  item.dataset.read = String(notification.read_at !== null)
  const button = document.createElement("button")
  button.textContent = notification.read_at === null ? "Mark as read" : "Mark as unread"
  button.onclick = () => call(`${api}/${notification.id}/${notification.read_at === null ? "read" : "unread"}`, "POST")
    .then(show).then(count)
  item.replaceChildren(notification.message, " ", button)
}

// If the socket reports a change while a count is being loaded, the count is outdated: load it again.
async function count() {
  let answer, before
  do {
    before = updates
    answer = await call(`${api}/unread-count`)
  } while (before !== updates)
  badge(answer)
}

async function load() {
  const page = await call(`${api}?limit=20`)
  rows.clear()
  element("notifications").replaceChildren()
  page.data.forEach(show)
  await count()
}

function changed(state) {
  for (const [id, notification] of rows) {
    if (state.ids ? !state.ids.includes(id) : id > state.upto) continue
    if (state.removed || state.archived_at) {
      rows.delete(id)
      document.querySelector(`li[data-id="${id}"]`)?.remove()
    } else if ("read_at" in state) {
      show({...notification, read_at: state.read_at})
    }
  }
  badge(state)
}

const handlers = {
  hello: frame => {
    badge(frame)
    element("status").textContent = "Connected."
    wait = 500
    // A hint may have been lost.
    refreshFlags()
    // Load the list only after the socket is connected, and after a reconnect request missed messages, so none are lost.
    if (since) socket.send(JSON.stringify({type: "resume", cursor: since}))
    else load()
  },
  notification: frame => {
    if (!rows.has(frame.data.id)) {
      show(frame.data)
      count()
    }
  },
  resumed: badge,
  state: changed,
  resync: () => {
    refreshFlags()
    return load()
  },
  // Pages wait up to a second, so that they do not all send their requests at the same moment.
  hint: ({kind}) => kind === "features" && setTimeout(refreshFlags, Math.random() * 1000),
  expiring: async () => {
    await renew()
    socket.send(JSON.stringify({type: "auth", ticket: (await call(`${api}/ticket`, "POST")).ticket}))
  },
}

async function connect() {
  try {
    const {ticket} = await call(`${api}/ticket`, "POST")
    const url = `${location.protocol.replace("http", "ws")}//${location.host}/ws/notifications/`
    socket = new WebSocket(url, ["notify.v1", `ticket.${ticket}`])
    socket.onmessage = event => {
      const frame = JSON.parse(event.data)
      handlers[frame.type]?.(frame)
      since = frame.cursor ?? since
    }
    socket.onclose = event => later(`Disconnected (${event.code}).`)
  } catch (error) {
    later(String(error))
  }
}

function later(text) {
  element("status").textContent = `${text} Reconnecting…`
  setTimeout(connect, wait)
  wait = Math.min(wait * 2, 30000)
}

element("sign-in").onsubmit = async event => {
  event.preventDefault()
  const form = new FormData(event.target)
  try {
    ({access, refresh} = await call("/api/auth/jwt/token/", "POST", Object.fromEntries(form), false))
  } catch {
    element("status").textContent = "Wrong e-mail or password."
    return
  }
  event.target.hidden = true
  element("read-all").hidden = false
  await load()
  connect()
  refreshFlags()
  // Processes without a channel layer get no hints of others.
  setInterval(refreshFlags, 60000)
}

element("read-all").onclick = () => newest && call(`${api}/read`, "POST", {upto: newest}).then(load)
