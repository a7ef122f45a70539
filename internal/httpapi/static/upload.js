// Sends the chosen files in one request and shows each as its line arrives.
"use strict";

const form = document.getElementById("form");
const state = document.getElementById("status");
const key = document.getElementById("key");
const results = document.getElementById("results");

function show(file) {
  const item = document.createElement("li");
  if (file.error) {
    item.className = "failed";
    item.textContent = `${file.name}: ${file.error.detail}`;
  } else {
    const link = document.createElement("a");
    const picture = document.createElement("img");
    link.href = `${file.url}?w=500&format=auto`;
    picture.src = link.href;
    picture.alt = file.name;
    picture.loading = "lazy";
    link.append(picture, document.createTextNode(`${file.key} (${file.width}×${file.height}, ${file.bytes} bytes)`));
    item.append(link);
  }
  results.prepend(item);
}

async function send() {
  state.textContent = "Uploading …";
  const headers = { Accept: "application/x-ndjson" };
  if (key.value) headers.Authorization = `Bearer ${key.value}`;
  const answer = await fetch("/upload", { method: "POST", body: new FormData(form), headers });
  if (answer.status === 401) key.parentElement.hidden = false;
  if (!answer.ok) {
    const problem = await answer.json();
    throw new Error(problem.detail || problem.title);
  }
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (!line) continue;
      const file = JSON.parse(line);
      if (file.summary) {
        state.textContent = `${file.summary.stored} stored, ${file.summary.failed} refused.`;
      } else {
        show(file);
      }
    }
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  send().catch((error) => { state.textContent = `The upload failed: ${error.message}`; });
});
