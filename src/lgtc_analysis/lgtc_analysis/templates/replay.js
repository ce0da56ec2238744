"use strict";
// Replay of the flight on a canvas. Data: lgtc_analysis.replay; lengths in millimetres, shares in per cent.
(() => {
  const data = JSON.parse(document.getElementById("frames").textContent);
  const canvas = document.getElementById("arena");
  const pen = canvas.getContext("2d");
  const slider = document.getElementById("time");
  const clock = document.getElementById("clock");
  const button = document.getElementById("play");
  const speed = document.getElementById("speed");
  const mission = document.getElementById("mission");
  const states = document.getElementById("states");
  const frames = data.position.length;
  const TRAIL_S = 6;
  const MARGIN = 1.06;
  const LOW_CHARGE = 20;
  let now = 0; // frame, with fraction
  let playing = false;
  let last = null;
  let colours = {};

  const readColours = () => {
    const style = getComputedStyle(document.documentElement);
    const get = (name) => style.getPropertyValue("--" + name).trim();
    colours = { ink: get("ink"), muted: get("muted"), rule: get("rule"), panel: get("panel"), place: get("place"), good: get("good") };
    colours.drone = data.drones.map((drone) => get("drone" + drone.colour));
  };

  const timeAt = (frame) => data.begin_s + frame * data.frame_s;
  const frameAt = (time) => Math.min(frames - 1, Math.max(0, (time - data.begin_s) / data.frame_s));

  // Position of a drone at a frame with fraction, or null.
  const position = (frame, i) => {
    const k = Math.floor(frame), a = data.position[k][i], b = data.position[Math.min(k + 1, frames - 1)][i];
    if (a[0] === null) return null;
    if (b[0] === null) return a;
    const f = frame - k;
    return a.map((value, axis) => value + f * (b[axis] - value));
  };

  let scale = 1, width = 0, height = 0;
  const resize = () => {
    const ratio = window.devicePixelRatio || 1;
    const aspect = data.arena.half[1] / data.arena.half[0];
    width = canvas.clientWidth;
    height = Math.min(width * aspect, 0.72 * Math.max(window.innerHeight, 640));
    canvas.style.height = height + "px";
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    scale = Math.min(width / (2 * data.arena.half[0]), height / (2 * data.arena.half[1])) / MARGIN;
  };
  const toScreen = (x, y) => [
    width / 2 + (x / 1000 - data.arena.centre[0]) * scale,
    height / 2 - (y / 1000 - data.arena.centre[1]) * scale,
  ];

  const circle = (x, y, radius) => { pen.beginPath(); pen.arc(x, y, radius, 0, 2 * Math.PI); };

  const drawArena = () => {
    pen.clearRect(0, 0, width, height);
    const [left, top] = toScreen(1000 * (data.arena.centre[0] - data.arena.half[0]), 1000 * (data.arena.centre[1] + data.arena.half[1]));
    const across = 2 * data.arena.half[0] * scale, down = 2 * data.arena.half[1] * scale;
    pen.strokeStyle = colours.rule; pen.lineWidth = 1; pen.beginPath();
    for (let x = Math.ceil(data.arena.centre[0] - data.arena.half[0]); x <= data.arena.centre[0] + data.arena.half[0]; x++) {
      const [sx] = toScreen(1000 * x, 0); pen.moveTo(sx, top); pen.lineTo(sx, top + down);
    }
    for (let y = Math.ceil(data.arena.centre[1] - data.arena.half[1]); y <= data.arena.centre[1] + data.arena.half[1]; y++) {
      const [, sy] = toScreen(0, 1000 * y); pen.moveTo(left, sy); pen.lineTo(left + across, sy);
    }
    pen.stroke();
    pen.strokeStyle = colours.muted; pen.lineWidth = 1.5; pen.strokeRect(left, top, across, down);
  };

  // A disc: its demand met as a growing sector of its area, name and share above it.
  const drawConsumers = (k) => {
    data.consumers.forEach((name, j) => {
      const [x, y] = data.place[k][j];
      if (x === null) return;
      const met = data.met[k][j], radius = data.radius[k][j] / 1000 * scale, [sx, sy] = toScreen(x, y);
      circle(sx, sy, radius);
      pen.globalAlpha = 0.12; pen.fillStyle = colours.place; pen.fill(); pen.globalAlpha = 1;
      if (met !== null && met > 0) {
        pen.beginPath(); pen.moveTo(sx, sy);
        pen.arc(sx, sy, radius, -Math.PI / 2, -Math.PI / 2 + 2 * Math.PI * met / 100);
        pen.globalAlpha = 0.2; pen.fillStyle = colours.good; pen.fill(); pen.globalAlpha = 1;
      }
      circle(sx, sy, radius);
      pen.strokeStyle = met === 100 ? colours.good : colours.place; pen.lineWidth = met === 100 ? 2.5 : 1.5; pen.stroke();
      pen.fillStyle = colours.ink; pen.textAlign = "center"; pen.textBaseline = "bottom";
      pen.font = "600 13px system-ui, sans-serif";
      pen.fillText(met === null ? name : `${name}  ${met} %`, sx, sy - radius - 5);
    });
  };

  const drawTrail = (i) => {
    const first = Math.max(0, Math.floor(now - TRAIL_S / data.frame_s));
    pen.strokeStyle = colours.drone[i]; pen.lineWidth = 2.5; pen.lineCap = "round";
    let before = null;
    for (let k = first; k <= Math.floor(now); k++) {
      const p = data.airborne[k][i] ? data.position[k][i] : [null];
      if (p[0] !== null && before) {
        pen.globalAlpha = 0.55 * (k - first) / Math.max(1, now - first);
        pen.beginPath(); pen.moveTo(...toScreen(before[0], before[1])); pen.lineTo(...toScreen(p[0], p[1])); pen.stroke();
      }
      before = p[0] === null ? null : p;
    }
    pen.globalAlpha = 1;
  };

  const drawChoice = (i, k, p) => {
    const chosen = data.chosen[k][i];
    if (chosen === null || data.place[k][chosen][0] === null) return;
    pen.strokeStyle = colours.drone[i]; pen.lineWidth = 1.4; pen.setLineDash([2, 5]); pen.beginPath();
    pen.moveTo(...toScreen(p[0], p[1])); pen.lineTo(...toScreen(...data.place[k][chosen])); pen.stroke(); pen.setLineDash([]);
  };

  // A drone: larger the higher it flies, hollow on the ground.
  const drawDrone = (i, k, p) => {
    const [x, y] = toScreen(p[0], p[1]), up = data.airborne[k][i];
    const radius = 6 + 5 * Math.min(1, Math.max(0, p[2] / 1000 / data.height)) + (data.drones.length > 24 ? -2 : 0);
    circle(x, y, radius);
    pen.fillStyle = up ? colours.drone[i] : colours.panel; pen.fill();
    pen.strokeStyle = up ? colours.panel : colours.drone[i]; pen.lineWidth = 2; pen.stroke();
    if (data.drones[i].round % 2 && up) { circle(x, y, radius / 3); pen.fillStyle = colours.panel; pen.fill(); }
    pen.fillStyle = colours.ink; pen.textAlign = "left"; pen.textBaseline = "middle"; pen.font = "600 12px system-ui, sans-serif";
    pen.fillText(data.drones[i].name, x + radius + 4, y + radius);
  };

  const drawMap = () => {
    const k = Math.floor(now);
    drawArena();
    drawConsumers(k);
    const positions = data.drones.map((_, i) => position(now, i));
    data.drones.forEach((_, i) => drawTrail(i));
    positions.forEach((p, i) => p && drawChoice(i, k, p));
    positions.forEach((p, i) => p && drawDrone(i, k, p));
  };

  const rows = data.drones.map((drone) => {
    const row = states.insertRow();
    const cells = [0, 1, 2, 3].map(() => row.insertCell());
    cells[0].textContent = drone.name;
    cells[0].style.color = `var(--drone${drone.colour})`;
    const gauge = document.createElement("span"), fill = document.createElement("i"), words = document.createElement("span");
    gauge.className = "gauge"; gauge.append(fill); cells[2].append(gauge, words);
    return { phase: cells[1], gauge, fill, words, choice: cells[3] };
  });

  const moments = data.story.map((moment) => {
    const entry = document.createElement("button"), when = document.createElement("b");
    entry.type = "button";
    when.textContent = moment.at_s.toFixed(1) + " s";
    entry.append(when, moment.words);
    entry.addEventListener("click", () => { pause(); jump(frameAt(moment.at_s)); });
    const item = document.createElement("li");
    item.append(entry);
    document.getElementById("story").append(item);
    return { entry, at_s: moment.at_s };
  });

  const showStates = () => {
    const k = Math.floor(now), time = timeAt(now);
    mission.textContent = "Mission: " + data.mission_words[data.mission[k]];
    moments.forEach((moment) => moment.entry.classList.toggle("past", moment.at_s <= time + data.frame_s));
    rows.forEach((row, i) => {
      const charge = data.charge[k][i], chosen = data.chosen[k][i];
      row.phase.textContent = data.phase_words[data.phase[k][i]];
      row.gauge.style.visibility = charge === null ? "hidden" : "visible";
      row.fill.style.width = (charge || 0) + "%";
      row.gauge.classList.toggle("low", charge !== null && charge < LOW_CHARGE);
      row.words.textContent = charge === null ? "" : charge + " %";
      row.choice.textContent = chosen === null ? "" : "→ " + data.consumers[chosen];
    });
    clock.textContent = time.toFixed(1) + " s";
  };

  const figures = [...document.querySelectorAll("figure[data-begin]")].map((figure) => ({
    box: figure.querySelector(".drawing"),
    line: figure.querySelector(".now"),
    left: +figure.dataset.left, right: +figure.dataset.right, begin: +figure.dataset.begin, end: +figure.dataset.end,
  }));
  const showLines = () => {
    const time = timeAt(now);
    for (const figure of figures) {
      const share = (time - figure.begin) / (figure.end - figure.begin);
      figure.line.style.left = 100 * (figure.left + share * (figure.right - figure.left)) + "%";
      figure.line.style.visibility = "visible";
    }
  };

  const show = () => { slider.value = Math.round(now); drawMap(); showStates(); showLines(); };
  const jump = (frame) => { now = Math.min(frames - 1, Math.max(0, frame)); show(); };

  const step = (stamp) => {
    if (!playing) return;
    if (last !== null) now = Math.min(frames - 1, now + (stamp - last) / 1000 * +speed.value / data.frame_s);
    last = stamp;
    show();
    if (now >= frames - 1) pause(); else requestAnimationFrame(step);
  };
  const pause = () => { playing = false; button.textContent = "▶"; };
  const play = () => {
    if (now >= frames - 1) now = 0;
    playing = true; last = null; button.textContent = "❚❚";
    requestAnimationFrame(step);
  };
  const toggle = () => (playing ? pause() : play());

  slider.max = frames - 1;
  slider.addEventListener("input", () => { pause(); jump(+slider.value); });
  button.addEventListener("click", toggle);
  for (const figure of figures) {
    figure.box.addEventListener("click", (event) => {
      const box = figure.box.getBoundingClientRect();
      const share = ((event.clientX - box.left) / box.width - figure.left) / (figure.right - figure.left);
      jump(frameAt(figure.begin + share * (figure.end - figure.begin)));
    });
  }
  document.addEventListener("keydown", (event) => {
    if (event.target.closest("select, button, input, summary") && event.key !== " ") return;
    if (event.key === " ") { if (event.target !== button) { event.preventDefault(); toggle(); } }
    else if (event.key === "ArrowRight" || event.key === "ArrowLeft") {
      event.preventDefault(); pause(); jump(now + (event.key === "ArrowRight" ? 1 : -1) / data.frame_s);
    }
  });
  window.addEventListener("resize", () => { resize(); show(); });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColours(); show(); });

  // Open just after the last event; without events, while the drones are on their way.
  readColours(); resize();
  jump(frameAt(data.events.length ? data.events[data.events.length - 1].at_s + 1 : 2));
})();
