"use strict";
(() => {
  const root = document.documentElement;
  const $ = (id) => document.getElementById(id);
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];
  root.classList.add("js");

  // Theme: the system's until the button is used.
  const system = matchMedia("(prefers-color-scheme: dark)");
  let chosen = null;
  const themed = [];
  function theme() {
    const dark = chosen === null ? system.matches : chosen;
    root.dataset.theme = dark ? "dark" : "light";
    $("theme").setAttribute("aria-pressed", String(dark));
    themed.forEach((f) => f());
  }
  $("theme").addEventListener("click", () => { chosen = root.dataset.theme !== "dark"; theme(); });
  system.addEventListener("change", theme);

  // Folding; everything is unfolded on paper.
  function unfold(open) {
    all("details").forEach((d) => { d.open = open; });
    $("unfold").setAttribute("aria-pressed", String(open));
  }
  $("unfold").addEventListener("click", () => unfold($("unfold").getAttribute("aria-pressed") !== "true"));
  $("print").addEventListener("click", () => print());
  let folded = [];
  addEventListener("beforeprint", () => {
    folded.push(...all("details").filter((d) => !d.open));
    folded.forEach((d) => { d.open = true; });
    themed.forEach((f) => f(true));
  });
  addEventListener("afterprint", () => {
    folded.forEach((d) => { d.open = false; });
    folded = [];
    themed.forEach((f) => f());
  });

  // Contents: where the reader is.
  const links = all("nav a");
  if ("IntersectionObserver" in window) {
    const visible = new Set();
    const watch = new IntersectionObserver((entries) => {
      entries.forEach((e) => visible[e.isIntersecting ? "add" : "delete"](e.target.id));
      const first = links.find((a) => visible.has(a.hash.slice(1)));
      links.forEach((a) => (a === first ? a.setAttribute("aria-current", "true") : a.removeAttribute("aria-current")));
    }, { rootMargin: "-60px 0px -40% 0px" });
    all("main section").forEach((s) => watch.observe(s));
  }

  // Claims: by verdict, by record, by words.
  const claims = all(".claim");
  const chips = all("[data-filter]");
  function filter() {
    const wanted = chips.filter((c) => c.getAttribute("aria-pressed") === "true").map((c) => c.dataset.filter);
    const differs = wanted.includes("differs");
    const verdicts = wanted.filter((w) => w !== "differs");
    const words = $("find").value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    claims.forEach((c) => {
      const text = words.length ? c.textContent.toLowerCase() : "";
      const keep = (!verdicts.length || verdicts.includes(c.dataset.verdict)) &&
        (!differs || c.dataset.differs === "yes") && words.every((w) => text.includes(w));
      c.hidden = !keep;
      shown += keep;
    });
    $("shown").textContent = `${shown} of ${claims.length} shown`;
  }
  chips.forEach((c) => c.addEventListener("click", () => {
    c.setAttribute("aria-pressed", String(c.getAttribute("aria-pressed") !== "true"));
    filter();
  }));
  if ($("find")) $("find").addEventListener("input", filter);

  // Tables: ascending, descending, as printed; within each group of rows.
  const NUMBER = /^\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)/i;
  function value(cell) {
    const text = cell.textContent.trim();
    if (text === "" || text === "-" || text === "nan") return null;
    if (/^\+?inf/.test(text)) return Infinity;
    if (/^-inf/.test(text)) return -Infinity;
    const found = NUMBER.exec(text);
    return found ? Number(found[1]) : text;
  }
  const words = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
  function sort(table, column, direction) {
    const bodies = [...table.tBodies];
    const rows = bodies.map((b) => [...b.rows].filter((r) => !r.classList.contains("group")));
    const keys = new Map(rows.flat().map((r) => [r, value(r.cells[column])]));
    const numeric = [...keys.values()].every((k) => k === null || typeof k === "number");
    if (!numeric) keys.forEach((k, r) => keys.set(r, k === null ? null : r.cells[column].textContent.trim()));
    bodies.forEach((body, at) => {
      const order = rows[at].slice().sort((a, b) => {
        const x = keys.get(a), y = keys.get(b);
        if (direction === 0 || x === y) return a.dataset.row - b.dataset.row;
        if (x === null || y === null) return x === null ? 1 : -1;
        return direction * (numeric ? x - y : words.compare(x, y)) || a.dataset.row - b.dataset.row;
      });
      body.append(...order);
    });
  }
  all("table[data-sort]").forEach((table) => {
    [...table.tBodies].flatMap((b) => [...b.rows]).forEach((r, at) => { r.dataset.row = at; });
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      if ("fixed" in head.dataset) return;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const before = head.getAttribute("aria-sort");
        const next = before === "ascending" ? "descending" : before === "descending" ? null : "ascending";
        heads.forEach((h) => h.removeAttribute("aria-sort"));
        if (next) head.setAttribute("aria-sort", next);
        sort(table, column, next === null ? 0 : next === "ascending" ? 1 : -1);
      });
    });
  });

  const data = JSON.parse($("timeline-data").textContent);
  if (data && $("canvas")) timeline(data);
  theme();

  function timeline(d) {
    const canvas = $("canvas"), view = $("timeline-view"), tip = $("tip"), pen = canvas.getContext("2d");
    const COLORS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#b8860b", "#7a5195"];
    const ROW = 13, TOP = 24, LANE = d.resources.length > 4 ? 18 : 30, tracks = d.resources.length;
    const n = d.slices.start.length, requests = d.requests.id.length;
    const start = new Float64Array(n), end = new Float64Array(n);
    let at = 0, longest = 0;
    for (let i = 0; i < n; i++) {
      at += d.slices.start[i];
      start[i] = at;
      end[i] = at + d.slices.length[i];
      longest = Math.max(longest, d.slices.length[i]);
    }
    const rowOf = new Map(d.requests.id.map((id, row) => [id, row]));
    const mine = d.requests.id.map(() => []);
    for (let i = 0; i < n; i++) if (rowOf.has(d.slices.id[i])) mine[rowOf.get(d.slices.id[i])].push(i);
    const full = Math.max(d.span, 1), tightest = 50;
    let from = 0, to = full, hover = null, picked = null, paper = false, style, left = 110, width = 800;
    const model = (k) => (k < COLORS.length ? COLORS[k] : "#8c8c8c");
    const color = (key) => model(d.group[key]);
    const lateAt = (row) => d.requests.unanswered[row] === 1 || (d.requests.finish[row] !== null &&
      d.requests.deadline[row] !== null && d.requests.finish[row] > d.requests.deadline[row]);
    const height = TOP + tracks * LANE + requests * ROW + 6;

    d.models.forEach((name, k) => {
      const item = document.createElement("span"), box = document.createElement("i");
      box.style.background = model(k);
      item.append(box, name);
      $("models").append(item);
    });
    [["--wait", "waiting"], ["--other", "requests outside the window"]].forEach(([name, text]) => {
      const item = document.createElement("span"), box = document.createElement("i");
      box.style.background = `var(${name})`;
      item.append(box, text);
      $("models").append(item);
    });
    const late = document.createElement("span");
    late.textContent = "| deadline   × missed";
    $("models").append(late);

    const seconds = (ns) => d.start_s + ns * 1e-9;
    function time(ns, span = to - from) {
      const digits = Math.max(0, Math.min(9, Math.ceil(-Math.log10(span * 1e-9)) + 2));
      return `${seconds(ns).toFixed(digits)} s`;
    }
    function length(ns) {
      if (ns >= 1e9) return `${(ns * 1e-9).toPrecision(4)} s`;
      if (ns >= 1e6) return `${(ns * 1e-6).toPrecision(4)} ms`;
      return ns >= 1e3 ? `${(ns * 1e-3).toPrecision(4)} µs` : `${ns} ns`;
    }
    const x = (ns) => left + ((ns - from) / (to - from)) * (width - left);
    const rowY = (row) => TOP + tracks * LANE + row * ROW;

    function first(ns) {  // first slice that can still be visible at ns: starts are sorted
      let low = 0, high = n;
      while (low < high) {
        const middle = (low + high) >> 1;
        if (start[middle] < ns - longest) low = middle + 1; else high = middle;
      }
      return low;
    }

    function draw() {
      const css = getComputedStyle(root);
      style = (name) => css.getPropertyValue(name).trim();
      const light = paper;
      const ink = light ? "#16191d" : style("--ink"), soft = light ? "#4b5560" : style("--soft");
      const hair = light ? "#e6e9ed" : style("--hair"), line = light ? "#d5dae0" : style("--line");
      const wait = light ? "#cfd6de" : style("--wait"), other = light ? "#aab3bd" : style("--other");
      const bad = light ? "#b3261e" : style("--no"), ground = light ? "#ffffff" : style("--bg");
      width = canvas.clientWidth || 800;
      left = width < 560 ? 74 : 124;
      const scale = Math.max(devicePixelRatio || 1, 2);
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
      canvas.style.height = `${height}px`;
      pen.setTransform(scale, 0, 0, scale, 0, 0);
      pen.fillStyle = ground;
      pen.fillRect(0, 0, width, height);
      pen.font = `11px ${style("--sans")}`;
      pen.textBaseline = "middle";
      axis(soft, hair);
      pen.save();
      pen.beginPath();
      pen.rect(left, TOP, width - left, height - TOP);
      pen.clip();
      for (let row = 0; row < requests; row++) {
        const r = d.requests, y = rowY(row);
        if (picked !== null && picked.row === row) {
          pen.fillStyle = hair;
          pen.fillRect(left, y, width - left, ROW);
        }
        const a = x(r.arrival[row]), b = x(r.finish[row] === null ? d.span : r.finish[row]);
        pen.fillStyle = wait;
        pen.fillRect(a, y + ROW / 2 - 1.5, Math.max(b - a, 1), 3);
      }
      let drawn = 0;
      for (let i = first(from); i < n && start[i] <= to; i++) {
        if (end[i] < from) continue;
        drawn++;
        const key = d.slices.key[i], row = rowOf.get(d.slices.id[i]);
        const a = x(start[i]), w = Math.max(x(end[i]) - a, 0.4), gap = w > 5 ? 0.7 : 0;
        const lane = TOP + (d.slices.resource ? d.slices.resource[i] : 0) * LANE;
        pen.fillStyle = row === undefined ? other : color(key);
        pen.fillRect(a, lane + 4, w - gap, LANE - 9);
        if (row !== undefined) pen.fillRect(a, rowY(row) + 2, w - gap, ROW - 4);
        if (w > 26) {
          const text = String(d.slices.stage[i]), mid = (Math.max(a, left) + Math.min(a + w, width)) / 2;
          pen.fillStyle = row === undefined ? ink : ["#0072b2", "#7a5195"].includes(color(key)) ? "#ffffff" : "#111111";
          pen.textAlign = "center";
          pen.fillText(text, mid, lane + LANE / 2);
        }
      }
      marks(ink, bad, line);
      pen.restore();
      labels(ink, soft, bad, line);
      view.dataset.from = from;
      view.dataset.to = to;
      view.dataset.drawn = drawn;
      $("range").textContent = `${time(from)} to ${time(to)} (${length(to - from)}), ${drawn.toLocaleString("en")} slices`;
    }

    function axis(soft, hair) {
      const step0 = ((to - from) / Math.max(2, (width - left) / 110)) * 1e-9;
      const power = 10 ** Math.floor(Math.log10(step0));
      const step = power * [1, 2, 5, 10].find((m) => m * power >= step0);
      pen.textAlign = "center";
      const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
      for (let k = Math.ceil(seconds(from) / step); k * step <= seconds(to); k++) {
        const p = x((k * step - d.start_s) * 1e9);
        pen.fillStyle = hair;
        pen.fillRect(p, TOP, 1, height - TOP);
        pen.fillStyle = soft;
        if (p > left + 24 && p < width - 24) pen.fillText(`${(k * step).toFixed(digits)} s`, p, TOP / 2);
      }
    }

    function marks(ink, bad, line) {
      for (let row = 0; row < requests; row++) {
        const r = d.requests, y = rowY(row), missed = lateAt(row);
        pen.fillStyle = ink;
        pen.fillRect(x(r.arrival[row]) - 0.5, y + 2.5, 1.2, ROW - 5);
        pen.fillStyle = missed ? bad : ink;
        if (r.deadline[row] !== null) pen.fillRect(x(r.deadline[row]) - 0.5, y + 0.5, 1.4, ROW - 1);
        if (missed && r.finish[row] !== null) {
          pen.textAlign = "left";
          pen.fillText("×", x(r.finish[row]) + 2, y + ROW / 2);
        }
      }
      const picks = [hover, picked].filter(Boolean);
      picks.forEach((p) => {
        if (p.slice === null) return;
        const lane = TOP + (d.slices.resource ? d.slices.resource[p.slice] : 0) * LANE;
        pen.strokeStyle = ink;
        pen.lineWidth = 1.5;
        pen.strokeRect(x(start[p.slice]), lane + 4, Math.max(x(end[p.slice]) - x(start[p.slice]), 1), LANE - 9);
      });
      pen.fillStyle = line;
      pen.fillRect(left, TOP + tracks * LANE - 1, width - left, 1);
    }

    function labels(ink, soft, bad, line) {
      pen.textAlign = "right";
      const narrow = left < 100;
      for (let k = 0; k < tracks; k++) {
        pen.fillStyle = ink;
        pen.fillText(tracks === 1 ? (narrow ? "accel." : "accelerator") : d.resources[k].slice(0, narrow ? 10 : 18), left - 8, TOP + k * LANE + LANE / 2);
      }
      pen.font = `10px ${style("--sans")}`;
      for (let row = 0; row < requests; row++) {
        const r = d.requests, missed = lateAt(row);
        pen.fillStyle = missed ? bad : soft;
        const name = narrow ? "" : `${d.models[d.group[r.key[row]]].slice(0, 12)} `;
        pen.fillText(`${name}#${r.id[row]}${missed ? " ×" : "\u2002"}`, left - 6, rowY(row) + ROW / 2);
      }
      pen.fillStyle = line;
      pen.fillRect(left - 1, TOP, 1, height - TOP);
    }

    function words(p) {
      const r = d.requests, lines = [];
      const key = p.slice === null ? r.key[p.row] : d.slices.key[p.slice];
      const id = p.slice === null ? r.id[p.row] : d.slices.id[p.slice];
      lines.push(`request ${id}, ${d.keys[key]}`);
      if (p.slice !== null) {
        const batch = d.slices.n ? `, batch of ${d.slices.n[p.slice]}` : "";
        lines.push(`layer ${d.slices.stage[p.slice]}${batch}`,
          `${time(start[p.slice], longest)} to ${time(end[p.slice], longest)} (${length(end[p.slice] - start[p.slice])})`);
      }
      const row = rowOf.get(id);
      if (row !== undefined) {
        const finish = r.finish[row], deadline = r.deadline[row];
        lines.push(`arrived ${time(r.arrival[row], longest)}`);
        if (r.first_start[row] !== null) lines.push(`first ran after ${length(r.first_start[row] - r.arrival[row])}`);
        lines.push(finish === null ? "not finished" :
          `${r.unanswered[row] ? "ended without an answer" : "finished"} after ${length(finish - r.arrival[row])}`);
        if (deadline !== null) {
          lines.push(`deadline after ${length(deadline - r.arrival[row])}: ` +
            (finish === null || lateAt(row) ? "missed" : "met"));
        }
        lines.push(`${r.preempt[row]} preemption${r.preempt[row] === 1 ? "" : "s"}`);
      } else {
        lines.push("outside the chosen requests");
      }
      return lines;
    }

    function show(p, px, py) {
      if (p === null) { tip.hidden = true; return; }
      tip.textContent = words(p).join("\n");
      tip.hidden = false;
      const space = canvas.clientWidth;
      tip.style.left = `${Math.max(4, Math.min(px + 14, space - tip.offsetWidth - 6))}px`;
      tip.style.top = `${py + 16 + tip.offsetHeight > height ? Math.max(2, py - tip.offsetHeight - 10) : py + 16}px`;
    }

    function under(px, py) {
      if (px < left || py < TOP) return null;
      const ns = from + ((px - left) / (width - left)) * (to - from);
      const slack = ((to - from) / (width - left)) * 1.5;
      const lane = Math.floor((py - TOP) / LANE), row = Math.floor((py - TOP - tracks * LANE) / ROW);
      let best = null, near = Infinity;
      for (let i = first(ns - slack); i < n && start[i] <= ns + slack; i++) {
        if (lane < tracks ? (d.slices.resource ? d.slices.resource[i] : 0) !== lane : rowOf.get(d.slices.id[i]) !== row) continue;
        const away = Math.max(start[i] - ns, ns - end[i], 0);
        if (away <= slack && away < near) { near = away; best = i; }
      }
      if (best !== null) return { slice: best, row: rowOf.get(d.slices.id[best]) ?? null };
      if (lane < tracks || row < 0 || row >= requests) return null;
      const r = d.requests, finish = r.finish[row] === null ? d.span : r.finish[row];
      return ns >= r.arrival[row] - slack && ns <= finish + slack ? { slice: null, row } : null;
    }

    let pending = false;
    function redraw() {
      if (pending) return;
      pending = true;
      requestAnimationFrame(() => { pending = false; draw(); });
    }
    function set(a, b) {
      const span = Math.min(Math.max(b - a, tightest), full);
      const middle = (a + b) / 2;
      from = Math.min(Math.max(middle - span / 2, 0), full - span);
      to = from + span;
      redraw();
    }
    function zoom(factor, around = (from + to) / 2) {
      const span = Math.min(Math.max((to - from) * factor, tightest), full);
      const part = (around - from) / (to - from);
      set(around - part * span, around + (1 - part) * span);
    }
    const pan = (part) => set(from + part * (to - from), to + part * (to - from));
    function centre() {  // the chosen slice or request while it is in sight
      if (picked === null) return undefined;
      const at = picked.slice === null ? d.requests.arrival[picked.row] : start[picked.slice];
      return at >= from && at <= to ? at : undefined;
    }
    const actions = { in: () => zoom(0.5, centre()), out: () => zoom(2, centre()), left: () => pan(-0.25), right: () => pan(0.25),
      reset: () => set(0, full) };
    all("[data-do]", view).forEach((b) => b.addEventListener("click", () => actions[b.dataset.do]()));

    function pick(row, slice) {
      picked = { row, slice };
      const a = slice === null ? d.requests.arrival[row] : start[slice];
      const b = slice === null ? (d.requests.finish[row] ?? d.span) : end[slice];
      if (a < from || b > to) {
        const span = Math.max(to - from, (b - a) * 1.1);
        set((a + b) / 2 - span / 2, (a + b) / 2 + span / 2);
      }
      draw();
      $("chosen").textContent = words(picked).join(", ");
      show(picked, Math.min(Math.max(x(a), left), width), rowY(row));
    }
    canvas.addEventListener("keydown", (e) => {
      if (e.ctrlKey || e.metaKey || e.altKey) return;
      const row = picked === null ? -1 : picked.row;
      const keys = {
        "+": actions.in, "=": actions.in, "-": actions.out, "_": actions.out, "0": actions.reset, Home: actions.reset,
        ArrowDown: () => pick(Math.min(row + 1, requests - 1), null), ArrowUp: () => pick(Math.max(row - 1, 0), null),
        ArrowLeft: e.shiftKey ? () => step(-1) : actions.left, ArrowRight: e.shiftKey ? () => step(1) : actions.right,
        Escape: () => { picked = null; show(null); redraw(); canvas.blur(); },
      };
      if (!keys[e.key]) return;
      e.preventDefault();
      keys[e.key]();
    });
    function step(way) {
      const row = picked === null ? 0 : picked.row, own = mine[row];
      if (!own.length) return;
      const now = picked === null || picked.slice === null ? -1 : own.indexOf(picked.slice);
      pick(row, own[Math.min(Math.max(now + way, 0), own.length - 1)]);
    }

    const place = (e) => { const box = canvas.getBoundingClientRect(); return [e.clientX - box.left, e.clientY - box.top]; };
    const timeAt = (px) => from + ((Math.max(px, left) - left) / (width - left)) * (to - from);
    canvas.addEventListener("wheel", (e) => {
      if (!e.ctrlKey && !e.metaKey && document.activeElement !== canvas) return;
      e.preventDefault();
      const unit = e.deltaMode === 1 ? 16 : 1;
      if (Math.abs(e.deltaX) > Math.abs(e.deltaY) || e.shiftKey) pan(((e.deltaX || e.deltaY) * unit) / width);
      else zoom(Math.exp(Math.min(Math.max(e.deltaY * unit, -240), 240) * 0.003), timeAt(place(e)[0]));
    }, { passive: false });
    const held = new Map();
    canvas.addEventListener("pointerdown", (e) => {
      held.set(e.pointerId, place(e)[0]);
      canvas.setPointerCapture(e.pointerId);
      canvas.focus({ preventScroll: true });
    });
    canvas.addEventListener("pointermove", (e) => {
      const [px, py] = place(e);
      if (!held.has(e.pointerId)) {
        hover = under(px, py);
        show(hover, px, py);
        redraw();
        return;
      }
      const before = held.get(e.pointerId);
      const others = [...held].filter(([id]) => id !== e.pointerId).map(([, p]) => p);
      if (others.length) zoom(Math.abs(before - others[0]) / Math.max(Math.abs(px - others[0]), 1), timeAt(others[0]));
      else set(from + timeAt(before) - timeAt(px), to + timeAt(before) - timeAt(px));
      held.set(e.pointerId, px);
      show(null);
    });
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (e) => held.delete(e.pointerId));
    canvas.addEventListener("pointerleave", () => { hover = null; if (!picked) show(null); redraw(); });
    canvas.addEventListener("blur", () => show(null));
    canvas.addEventListener("dblclick", (e) => zoom(0.4, timeAt(place(e)[0])));
    new ResizeObserver(redraw).observe(canvas.parentElement);
    themed.push((printing) => { paper = printing === true; draw(); });
  }
})();
