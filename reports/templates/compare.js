// The picture comparisons: turns every strip of crops into a viewer of two of them with a divider.
(() => {
  "use strict";

  const SIDES = ["left", "right"];
  const ZOOMS = [1, 2, 4, 8];
  const WIDEST = 640; // CSS pixels
  const STILL = 4; // CSS pixels that a click may move

  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  class Comparison {
    constructor(element, template) {
      this.element = element;
      this.side = Number(element.dataset.side);
      this.sources = new Map([...element.querySelectorAll(".tile")].map((tile) => [tile.dataset.key, tile]));
      element.append(template.content.cloneNode(true));
      element.classList.add("live");
      this.stage = element.querySelector(".stage");
      this.divider = element.querySelector(".divider");
      const ofEach = (find) => Object.fromEntries(SIDES.map((side) => [side, find(side)]));
      this.panes = ofEach((side) => element.querySelector(`.pane.${side}`));
      this.sides = ofEach((side) => element.querySelector(`.side[data-side=${side}]`));
      this.selects = ofEach((side) => this.sides[side].querySelector("select"));
      for (const side of SIDES) this.fill(side);
      this.errors = element.querySelector(".errors");
      element.querySelector(".range .top").textContent = element.dataset.errorRange;
      this.listen();
      this.at = 50; // percent of the stage
      this.zoom = 1;
      this.centre = { x: 0.5, y: 0.5 }; // of what is seen, as a share of the crop
      this.fit();
      this.show();
      this.move(this.at);
      this.magnify(this.zoom);
    }

    fill(side) {
      for (const [key, tile] of this.sources) this.selects[side].add(new Option(tile.dataset.name, key));
      this.selects[side].value = this.element.dataset[side];
    }

    listen() {
      for (const select of Object.values(this.selects)) select.addEventListener("change", () => this.show());
      for (const button of this.element.querySelectorAll("[data-zoom]"))
        button.addEventListener("click", () => this.magnify(Number(button.dataset.zoom)));
      this.errors.addEventListener("click", () => {
        this.errors.setAttribute("aria-pressed", String(!this.showsErrors));
        this.show();
      });
      this.element.addEventListener("keydown", (event) => this.press(event));
      this.stage.addEventListener("pointerdown", (event) => this.grab(event));
      this.stage.addEventListener("pointermove", (event) => this.drag(event));
      this.stage.addEventListener("pointerup", (event) => this.release(event));
      this.stage.addEventListener("pointercancel", () => this.letGo());
      new ResizeObserver(() => this.fit()).observe(this.element);
    }

    get showsErrors() {
      return this.errors.getAttribute("aria-pressed") === "true";
    }

    tile(side) {
      return this.sources.get(this.selects[side].value);
    }

    // A whole number of CSS pixels for every pixel of the crop, where there is room.
    fit() {
      const wanted = Math.min(this.element.clientWidth, WIDEST);
      const size = wanted < this.side ? wanted : Math.floor(wanted / this.side) * this.side;
      this.stage.style.width = this.stage.style.height = `${size}px`;
    }

    show() {
      for (const side of SIDES) {
        const tile = this.tile(side);
        const crop = tile.querySelector("img");
        const image = this.panes[side].querySelector("img");
        const path = this.showsErrors ? tile.dataset.error : crop.getAttribute("src");
        if (image.getAttribute("src") !== path) image.setAttribute("src", path);
        image.alt = this.showsErrors ? `Error map. ${crop.alt}` : crop.alt;
        this.panes[side].querySelector("span").textContent = tile.dataset.name;
        for (const score of this.sides[side].querySelectorAll("[data-score]"))
          score.querySelector("dd").textContent = tile.dataset[score.dataset.score] || "—";
      }
      this.element.querySelector(".range").hidden = !this.showsErrors;
      this.describe();
    }

    move(at) {
      this.at = clamp(at, 0, 100);
      this.stage.style.setProperty("--at", `${this.at}%`);
      this.describe();
    }

    describe() {
      const [left, right] = SIDES.map((side) => this.tile(side).dataset.name);
      const at = Math.round(this.at);
      this.divider.setAttribute("aria-valuenow", String(at));
      this.divider.setAttribute("aria-valuetext", `${at} %: ${left} to the left, ${right} to the right`);
      this.stage.setAttribute("aria-label", `${this.element.dataset.image}: ${left} and ${right}`);
    }

    magnify(zoom) {
      this.zoom = zoom;
      this.stage.classList.toggle("zoomed", zoom > 1);
      this.stage.tabIndex = zoom > 1 ? 0 : -1;
      for (const button of this.element.querySelectorAll("[data-zoom]"))
        button.setAttribute("aria-pressed", String(Number(button.dataset.zoom) === zoom));
      this.pan(0, 0);
    }

    // Moves what is seen by shares of the stage.
    pan(right, down) {
      const edge = 0.5 / this.zoom;
      this.centre.x = clamp(this.centre.x + right / this.zoom, edge, 1 - edge);
      this.centre.y = clamp(this.centre.y + down / this.zoom, edge, 1 - edge);
      const shift = (centre) => `${50 - 100 * this.zoom * centre}%`;
      const transform = `translate(${shift(this.centre.x)}, ${shift(this.centre.y)}) scale(${this.zoom})`;
      for (const pane of Object.values(this.panes)) pane.querySelector("img").style.transform = transform;
    }

    press(event) {
      if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "SELECT") return;
      const step = event.shiftKey ? 10 : 2;
      const index = ZOOMS.indexOf(this.zoom);
      const everywhere = {
        "+": () => this.magnify(ZOOMS[index + 1] ?? this.zoom),
        "=": () => this.magnify(ZOOMS[index + 1] ?? this.zoom),
        "-": () => this.magnify(ZOOMS[index - 1] ?? this.zoom),
        0: () => this.magnify(1),
      };
      const onDivider = {
        ArrowLeft: () => this.move(this.at - step),
        ArrowDown: () => this.move(this.at - step),
        ArrowRight: () => this.move(this.at + step),
        ArrowUp: () => this.move(this.at + step),
        Home: () => this.move(0),
        End: () => this.move(100),
      };
      const onStage = {
        ArrowLeft: () => this.pan(-0.1, 0),
        ArrowRight: () => this.pan(0.1, 0),
        ArrowUp: () => this.pan(0, -0.1),
        ArrowDown: () => this.pan(0, 0.1),
      };
      const local = event.target === this.divider ? onDivider : event.target === this.stage && this.zoom > 1 ? onStage : {};
      const action = everywhere[event.key] ?? local[event.key];
      if (!action) return;
      event.preventDefault();
      action();
    }

    // Where a pointer is, in percent of the stage's width.
    percent(event) {
      const box = this.stage.getBoundingClientRect();
      return (100 * (event.clientX - box.left)) / box.width;
    }

    grab(event) {
      if (event.button !== 0 || !event.isPrimary) return;
      const divides = this.divider.contains(event.target);
      this.held = {
        x: event.clientX,
        y: event.clientY,
        does: divides ? "divide" : "", // decided by the first movement
        offset: divides ? this.at - this.percent(event) : 0,
      };
      this.stage.setPointerCapture(event.pointerId);
    }

    drag(event) {
      const held = this.held;
      if (!held || !event.isPrimary) return;
      const [right, down] = [event.clientX - held.x, event.clientY - held.y];
      if (!held.does) {
        if (Math.hypot(right, down) < STILL) return;
        held.does = this.zoom > 1 ? "pan" : "divide";
        this.stage.classList.toggle("panning", held.does === "pan");
      }
      if (held.does === "divide") {
        this.move(this.percent(event) + held.offset);
      } else {
        this.pan(-right / this.stage.clientWidth, -down / this.stage.clientHeight);
        [held.x, held.y] = [event.clientX, event.clientY];
      }
    }

    release(event) {
      if (this.held && !this.held.does) this.move(this.percent(event));
      this.letGo();
    }

    letGo() {
      this.held = null;
      this.stage.classList.remove("panning");
    }
  }

  const template = document.getElementById("comparison-viewer");
  for (const element of document.querySelectorAll(".comparison")) new Comparison(element, template);
  for (const line of document.querySelectorAll(".keys")) line.hidden = false;
})();
