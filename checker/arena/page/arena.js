// The arena's page: one stream of views in, one form a control out. Nothing is
// loaded from anywhere but the program that serves this file.
'use strict';

const $ = id => document.getElementById(id);
const still = matchMedia('(prefers-reduced-motion: reduce)');
const dark = matchMedia('(prefers-color-scheme: dark)');
const SECONDS = 30;

let view = null;               // the newest
let samples = [];              // of the last 30 s, one a statistics line of the server
let before = new Map(), now = new Map(), came = 0, between = 50; // positions by id, for movement between snapshots
let frozen = new Set();
let map = null, walls = null;  // of the run; and as a picture

// ---- numbers ----

const whole = n => Math.round(n).toLocaleString('en');
const short = n => n >= 100 ? whole(n) : n >= 10 ? n.toFixed(1) : n.toFixed(2);
const short0 = n => n < 10 && n > 0 ? n.toFixed(1) : whole(n);
function bytes(n) {
  for (const [unit, size] of [['GB', 1e9], ['MB', 1e6], ['kB', 1e3]])
    if (n >= size) return [short(n / size), unit];
  return [whole(n), 'B'];
}

// Each is of the last second. value gives [number, unit]; floor is the least the vertical axis ends at.
const charts = [
  { name: 'A tick takes', note: 'p99', of: s => s.tickP99, value: n => [short(n), 'ms'], floor: 1, budget: v => v.budget, marks: s => s.newLate },
  { name: 'A tick begins late by', note: 'p99', of: s => s.late, value: n => [short(n), 'ms'], floor: 0.5 },
  { name: 'Bytes out a second', of: s => s.bytesOut, value: bytes, floor: 1e5 },
  { name: 'Processor time, server', of: s => s.cpu, value: n => n < 0 ? ['–', ''] : [short(n), '% of one'], floor: 100 },
];
const tiles = [
  ['Players', v => whole(v.players)],
  ['Ticks a second', v => v.stats.rate.toFixed(1)],
  ['Overruns', v => whole(v.stats.overruns), v => recent('newOverruns') ? 'look' : ''],
  ['Ticks dropped', v => whole(v.stats.dropped), v => recent('newDropped') ? 'bad' : ''],
  ['Clients behind', v => short0(v.stats.behind), v => v.stats.behind >= .5 ? 'look' : ''],
  ['Snapshots replaced', v => whole(v.stats.replaced), v => recent('newReplaced') ? 'look' : ''],
  ['Clients dropped', v => whole(v.stats.kicked), v => recent('newKicked') ? 'bad' : ''],
  ['System calls a second', v => whole(v.stats.calls)],
];
const recent = field => samples.slice(-30).some(s => s[field] > 0);

for (const c of charts) {
  const box = document.createElement('figure');
  box.className = 'chart';
  box.innerHTML = '<h3><span></span><output></output></h3><canvas role="img"></canvas>';
  box.querySelector('span').textContent = c.name + (c.note ? ', ' + c.note : '');
  c.out = box.querySelector('output');
  c.out.setAttribute('aria-live', 'off');
  c.canvas = box.querySelector('canvas');
  c.canvas.setAttribute('aria-label', c.name);
  $('charts').append(box);
}
for (const t of tiles) {
  const box = document.createElement('div'), dt = document.createElement('dt'), dd = document.createElement('dd');
  dt.textContent = t[0];
  box.append(dt, dd);
  $('tiles').append(box);
  t.box = box;
  t.out = dd;
}

// ---- the stream ----

const stream = new EventSource('events');
stream.onmessage = e => {
  const v = JSON.parse(e.data), first = !view;
  if (!view || v.run !== view.run) { samples = []; before.clear(); now.clear(); loadMap(); }
  if (!samples.length || v.sample !== view.sample) addSample(v, samples.at(-1));
  view = v;
  if (v.where) move(v.where);
  frozen = new Set(v.frozen);
  if (first) {
    $('bots').value = v.wanted;
    $('bots').max = v.maxBots;
    for (const group of v.engines) {
      const g = document.createElement('optgroup');
      g.label = group.whose;
      for (const name of group.names) g.append(new Option(name, name, false, name === v.engine));
      $('engines').append(g);
    }
  }
  if (v.client && !$('client').value) $('client').value = v.client;
  say(v);
  requestAnimationFrame(show);
};
stream.onerror = () => {
  if (view) say({ topic: 'gone', mood: 'bad', say: 'The arena has ended, or does not answer. Start it again with go run ./checker arena, and open the address it prints.' });
};

// A browser makes six connections to a server, and a stream is one. The oldest window gives
// its own up; the controls work on.
stream.addEventListener('crowded', e => {
  stream.close();
  say({ topic: 'crowded', mood: 'bad', say: `${e.data} newer windows show the arena, and a browser has no connections for more: this one shows what it last saw. Close another, and reload this one.` });
});

function addSample(v, last) {
  const s = { ...v.stats, at: performance.now() };
  const grown = field => last ? Math.max(0, v.stats[field] - last[field]) : 0;
  s.newOverruns = grown('overruns');
  s.newDropped = grown('dropped');
  s.newReplaced = grown('replaced');
  s.newKicked = grown('kicked');
  s.newLate = s.newOverruns + s.newDropped;
  samples.push(s);
  while (samples[0].at < s.at - SECONDS * 1000 - 500) samples.shift();
}

async function loadMap() {
  const r = await fetch('map');
  map = r.ok ? await r.json() : null;
  walls = null;
}

function move(base64) {
  const text = atob(base64), data = new DataView(new ArrayBuffer(text.length));
  for (let i = 0; i < text.length; i++) data.setUint8(i, text.charCodeAt(i));
  before = now;
  now = new Map();
  for (let i = 0; i + 8 <= text.length; i += 8)
    now.set(data.getUint32(i, true), [data.getUint16(i + 4, true) / 65535, data.getUint16(i + 6, true) / 65535]);
  const t = performance.now();
  between = Math.min(250, Math.max(16, t - came));
  came = t;
}

// The sentence is read out when its subject changes, and then every ten seconds,
// not each time that a number in it does.
let topic = '', readOut = 0;
function say(v) {
  $('sentence').textContent = v.say;
  $('say').className = 'say ' + v.mood;
  if (v.topic !== topic || performance.now() - readOut > 10000) {
    topic = v.topic;
    readOut = performance.now();
    $('live').textContent = v.say;
  }
}

// ---- drawing ----

let colors = {};
function readColors() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ['text', 'faint', 'grid', 'line', 'fill', 'budget', 'frozen', 'edge', 'dot-0', 'dot-1', 'dot-2', 'dot-3', 'dot-4'])
    colors[name] = style.getPropertyValue('--' + name).trim();
}
readColors();
dark.addEventListener('change', () => { readColors(); walls = null; });

// pen sizes the canvas to its box, in the screen's own pixels.
function pen(canvas) {
  const scale = devicePixelRatio || 1, w = canvas.clientWidth, h = canvas.clientHeight;
  if (canvas.width !== Math.round(w * scale) || canvas.height !== Math.round(h * scale)) {
    canvas.width = Math.round(w * scale);
    canvas.height = Math.round(h * scale);
  }
  const p = canvas.getContext('2d');
  p.setTransform(scale, 0, 0, scale, 0, 0);
  p.clearRect(0, 0, w, h);
  return [p, w, h];
}

let shown = 0, drawn = 0;
function show() {
  const t = performance.now();
  if (still.matches && t - shown < 1000) return; // one picture a second
  if (t - shown >= 100 || still.matches) {
    shown = t;
    showNumbers();
    charts.forEach(drawChart);
  }
  if (t - drawn >= 30) drawWorld(t);
}
(function glide() { // between two snapshots; 30 pictures a second, to leave the processors to the server
  const t = performance.now();
  if (view && !still.matches && t - drawn >= 30 && t - came < between + 100) drawWorld(t);
  requestAnimationFrame(glide);
})();
addEventListener('resize', () => view && drawWorld(performance.now()));

function showNumbers() {
  const v = view;
  $('engine').textContent = v.engine;
  $('how').textContent = v.how + (v.timer ? ', waits in steps of ' + v.timer : '');
  $('world-note').textContent = 'tick ' + whole(v.tick);
  for (const t of tiles) {
    t.out.textContent = t[1](v);
    t.box.className = t[2] ? t[2](v) : '';
  }
}

function drawWorld(t) {
  drawn = t;
  const [p, w, h] = pen($('world')), part = still.matches ? 1 : Math.min(1, (t - came) / between);
  const wide = map ? map.width : 1, high = map ? map.height : 1, tile = Math.min(w / wide, h / high);
  const scale = tile * wide, height = tile * high, left = (w - scale) / 2, top = (h - height) / 2;
  if (map) {
    if (!walls || walls.width !== Math.ceil(scale * devicePixelRatio)) drawWalls(scale, height, tile);
    p.drawImage(walls, left, top, scale, height);
  }
  const r = Math.max(1.2, Math.min(3.2, 90 / Math.sqrt(now.size + 1)));
  const rings = [];
  for (let team = 0; team < 5; team++) {
    p.fillStyle = p.strokeStyle = colors['dot-' + team];
    p.beginPath();
    const tails = new Path2D();
    for (const [id, [x1, y1]] of now) {
      if (id % 5 !== team) continue;
      const [x0, y0] = before.get(id) || [x1, y1];
      const far = Math.abs(x1 - x0) + Math.abs(y1 - y0) > .1; // a jump is not a movement
      const x = left + (far ? x1 : x0 + (x1 - x0) * part) * scale, y = top + (far ? y1 : y0 + (y1 - y0) * part) * height;
      p.moveTo(x + r, y);
      p.arc(x, y, r, 0, 7);
      if (!far && !still.matches) {
        tails.moveTo(x, y);
        tails.lineTo(x - (x1 - x0) * scale * 3, y - (y1 - y0) * height * 3);
      }
      if (frozen.has(id)) rings.push([x, y, id]);
    }
    p.fill();
    p.globalAlpha = .35;
    p.stroke(tails);
    p.globalAlpha = 1;
  }
  p.strokeStyle = p.fillStyle = colors.frozen;
  p.lineWidth = 2;
  p.font = '600 12px system-ui, sans-serif';
  for (const [x, y, id] of rings.slice(0, 2000)) {
    p.beginPath();
    p.arc(x, y, r + 4, 0, 7);
    p.stroke();
    if (rings.length <= 12) p.fillText(id, x + r + 7, y + 4);
  }
}

// drawWalls makes the picture of what does not move: the tiles that are walls, and the
// spatial grid.
function drawWalls(w, h, tile) {
  const ratio = devicePixelRatio;
  walls = document.createElement('canvas');
  walls.width = Math.ceil(w * ratio);
  walls.height = Math.ceil(h * ratio);
  const p = walls.getContext('2d'), bits = atob(map.walls);
  p.scale(ratio, ratio);
  p.strokeStyle = colors.grid;
  p.beginPath();
  for (let x = 0; x <= map.width; x += map.cell) { p.moveTo(x * tile, 0); p.lineTo(x * tile, h); }
  for (let y = 0; y <= map.height; y += map.cell) { p.moveTo(0, y * tile); p.lineTo(w, y * tile); }
  p.stroke();
  p.fillStyle = colors.edge;
  for (let i = 0; i < bits.length; i++)
    if (bits.charCodeAt(i)) p.fillRect(i % map.width * tile, Math.floor(i / map.width) * tile, tile, tile);
}

// nice is the next 1, 2 or 5 times a power of ten.
function nice(n) {
  const ten = 10 ** Math.floor(Math.log10(n));
  return [1, 2, 5, 10].map(m => m * ten).find(m => m >= n * .999);
}

function drawChart(c) {
  const [p, w, h] = pen(c.canvas), last = samples.at(-1);
  const [number, unit] = c.value(c.of(last));
  c.out.innerHTML = '';
  const small = document.createElement('small');
  small.textContent = unit;
  c.out.append(number, small);
  const max = nice(Math.max(c.floor, ...samples.map(c.of))), bottom = h - 15, top = 8;
  const x = s => w - (last.at - s.at) / 1000 / SECONDS * w, y = n => bottom - Math.max(0, n) / max * (bottom - top);
  c.canvas.setAttribute('aria-label', `${c.name}, last 30 seconds: now ${number} ${unit}, at most ${c.value(Math.max(...samples.map(c.of))).join(' ')}`);
  p.strokeStyle = colors.grid;
  p.beginPath();
  for (const n of [0, max / 2, max]) { p.moveTo(0, Math.round(y(n)) + .5); p.lineTo(w, Math.round(y(n)) + .5); }
  p.stroke();
  if (c.marks) {
    p.fillStyle = colors.budget;
    for (const s of samples) if (c.marks(s)) p.fillRect(x(s) - 1, bottom, 2, 5);
  }
  p.beginPath();
  samples.forEach((s, i) => i ? p.lineTo(x(s), y(c.of(s))) : p.moveTo(x(s), y(c.of(s))));
  p.strokeStyle = colors.line;
  p.lineWidth = 1.5;
  p.lineJoin = 'round';
  p.stroke();
  p.lineTo(x(last), bottom);
  p.lineTo(x(samples[0]), bottom);
  p.fillStyle = colors.fill;
  p.fill();
  const budget = c.budget && c.budget(view);
  if (budget && budget <= max) {
    p.strokeStyle = colors.budget;
    p.lineWidth = 1;
    p.setLineDash([4, 4]);
    p.beginPath();
    p.moveTo(0, y(budget));
    p.lineTo(w, y(budget));
    p.stroke();
    p.setLineDash([]);
  }
  p.fillStyle = colors.faint;
  p.font = '11px system-ui, sans-serif';
  p.fillText(c.value(max).join(' '), 2, top + 10);
  p.fillText('30 s ago', 2, h - 2);
  p.textAlign = 'right';
  if (budget && budget <= max) p.fillText('budget', w - 2, y(budget) - 3);
  p.fillText('now', w - 2, h - 2);
  p.textAlign = 'left';
}

// ---- controls ----

for (const form of document.forms) {
  form.addEventListener('submit', async e => {
    e.preventDefault();
    $('answer').textContent = ''; // the same words twice are news, too
    const button = e.submitter, to = button && button.getAttribute('formaction') || form.getAttribute('action');
    const body = new URLSearchParams(new FormData(form, button));
    let text, bad = false;
    try {
      const r = await fetch(to, { method: 'POST', body });
      text = await r.text();
      bad = !r.ok;
    } catch {
      text = 'The arena does not answer.';
      bad = true;
    }
    $('answer').textContent = text.trim();
    $('answer').className = bad ? 'bad' : '';
  });
}
