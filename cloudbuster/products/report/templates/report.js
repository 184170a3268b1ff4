/* The map of the report: it paints the mosaic's codes, and says of a place which scene gives it and why.
   Columns count from the western edge and rows from the northern one; a Leaflet point is
   [-row * aspect, column], so that a cell has its true shape and one unit is the width of a cell. */
(async () => {
  'use strict';
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId('data').textContent);
  const { grid } = data;
  const [codeRows, codeCols] = data.codes;
  const root = document.documentElement;

  /* --- Values ------------------------------------------------------------------------------ */

  const inflate = async (text) => {
    const packed = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream('deflate'));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  };

  const decode = async (band) => {
    const bytes = await inflate(band.data);
    if (band.bytes === 1) return bytes;
    // The low bytes of all cells come before the high bytes.
    const count = bytes.length / 2;
    return Uint16Array.from({ length: count }, (_, cell) => bytes[cell] | (bytes[count + cell] << 8));
  };

  const bands = new Map();
  try {
    for (const band of data.bands) bands.set(band.name, { ...band, codes: await decode(band) });
  } catch (error) {
    const sorry = byId('sorry');
    sorry.textContent = 'This browser cannot unpack the values of the map (it lacks DecompressionStream). The picture and the tables are complete.';
    sorry.hidden = false;
    return;
  }
  const states = new Map(data.states.map((state) => [state.code, state]));
  const sceneOf = new Map();
  data.scenes.forEach((scene, number) => scene.indices.forEach((index, place) => sceneOf.set(index, {
    number, colour: scene.colours[place], isBackstop: scene.backstops.includes(index),
  })));

  /* --- Texts ------------------------------------------------------------------------------- */

  const element = (name, attributes = {}, ...children) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };
  const percent = (share) => {
    if (share === 0 || share === 1) return `${100 * share}\u00a0%`;
    const text = (100 * share).toFixed(2);
    if (Number(text) === 0) return '<\u00a00.01\u00a0%';
    return Number(text) === 100 ? '>\u00a099.99\u00a0%' : `${text}\u00a0%`;
  };
  const times = (count) => (count === 1 ? 'once' : count === 2 ? 'twice' : `${count} times`);
  const drawing = (kind, shape, attributes) => {
    const [svg, child] = ['svg', shape].map((name) => document.createElementNS('http://www.w3.org/2000/svg', name));
    for (const [key, value] of Object.entries({ class: kind, viewBox: '0 0 10 10', 'aria-hidden': true })) svg.setAttribute(key, value);
    for (const [key, value] of Object.entries(attributes)) child.setAttribute(key, value);
    svg.append(child);
    return svg;
  };
  const swatch = (colour) => drawing('swatch', 'rect', { width: 10, height: 10, rx: 2, fill: colour });

  /* --- Coordinates ------------------------------------------------------------------------- */

  const toPoint = ([x, y]) => [-y * grid.aspect, x];
  const toCell = (point) => ({ x: point.lng, y: -point.lat / grid.aspect });
  const isOnGrid = ({ x, y }) => x >= 0 && y >= 0 && x < grid.width && y < grid.height;

  /** Longitude and latitude of a place in columns and rows; null where the CRS has none. */
  const lonLat = ({ x, y }) => {
    const nodes = data.lattice;
    if (!nodes) return null;
    const last = nodes.size - 1;
    const across = (x / grid.width) * last;
    const down = (y / grid.height) * last;
    const col = Math.min(last - 1, Math.max(0, Math.floor(across)));
    const row = Math.min(last - 1, Math.max(0, Math.floor(down)));
    const between = (values) => {
      const at = row * nodes.size + col;
      const [a, b] = [across - col, down - row];
      return (1 - b) * ((1 - a) * values[at] + a * values[at + 1])
        + b * ((1 - a) * values[at + nodes.size] + a * values[at + nodes.size + 1]);
    };
    const lon = ((((between(nodes.lon) + 180) % 360) + 360) % 360) - 180;
    return { lon, lat: between(nodes.lat) };
  };
  /** Columns and rows of a longitude and latitude, by Newton's method; null far outside of the mosaic. */
  const cellOf = ({ lon, lat }) => {
    let cell = { x: grid.width / 2, y: grid.height / 2 };
    const [dx, dy] = [grid.width / 50, grid.height / 50];
    const turn = (degrees) => ((((degrees + 180) % 360) + 360) % 360) - 180;
    for (let round = 0; round < 20; round += 1) {
      const [here, east, south] = [cell, { x: cell.x + dx, y: cell.y }, { x: cell.x, y: cell.y + dy }].map(lonLat);
      const [a, b] = [turn(east.lon - here.lon) / dx, turn(south.lon - here.lon) / dy];
      const [c, d] = [(east.lat - here.lat) / dx, (south.lat - here.lat) / dy];
      const [p, q] = [turn(lon - here.lon), lat - here.lat];
      const scale = a * d - b * c;
      cell = { x: cell.x + (p * d - q * b) / scale, y: cell.y + (a * q - c * p) / scale };
    }
    return Number.isFinite(cell.x) && Number.isFinite(cell.y) ? cell : null;
  };
  const coordinates = (cell) => {
    const place = lonLat(cell);
    return place
      ? `${Math.abs(place.lat).toFixed(5)}° ${place.lat < 0 ? 'S' : 'N'}, ${Math.abs(place.lon).toFixed(5)}° ${place.lon < 0 ? 'W' : 'E'}`
      : 'unknown';
  };
  const inCrs = ({ x, y }) => {
    const digits = grid.unit === '°' ? 6 : 0;
    return `${(grid.west + x * grid.xSize).toFixed(digits)}, ${(grid.north - y * grid.ySize).toFixed(digits)}`;
  };
  const codePlace = ({ x, y }) => {
    const col = Math.min(codeCols - 1, Math.floor((x / grid.width) * codeCols));
    const row = Math.min(codeRows - 1, Math.floor((y / grid.height) * codeRows));
    return row * codeCols + col;
  };

  /* --- Map --------------------------------------------------------------------------------- */

  root.classList.add('ready');
  const crs = L.extend({}, L.CRS.Simple, {
    distance: (a, b) => Math.hypot(a.lat - b.lat, a.lng - b.lng) * grid.cellM,
  });
  const bounds = L.latLngBounds(toPoint([0, grid.height]), toPoint([grid.width, 0]));
  const isCalm = window.matchMedia('(prefers-reduced-motion: reduce)').matches;
  const map = L.map('map', {
    crs, attributionControl: false, minZoom: -16, maxZoom: 16, zoomSnap: 0.25, zoomDelta: 0.5, wheelPxPerZoomLevel: 90,
    maxBoundsViscosity: 0.6, zoomAnimation: !isCalm, fadeAnimation: !isCalm, inertia: !isCalm,
  });
  map.getContainer().tabIndex = 0;
  map.fitBounds(bounds, { padding: [12, 12] });
  map.setMinZoom(Math.min(0, map.getZoom()) - 3);
  map.setMaxZoom(Math.max(5, map.getZoom() + 2));
  map.setMaxBounds(bounds.pad(1.5));
  L.control.scale({ imperial: false }).addTo(map);
  const Home = L.Control.extend({
    onAdd() {
      const bar = L.DomUtil.create('div', 'leaflet-bar');
      const link = element('a', { class: 'home', href: '#map', role: 'button', title: 'Show the whole mosaic', 'aria-label': 'Show the whole mosaic' },
        drawing('icon', 'path', { d: 'M1 4V1h3M6 1h3v3M9 6v3H6M4 9H1V6', 'stroke-width': 1.4 }));
      L.DomEvent.disableClickPropagation(bar);
      link.addEventListener('click', (event) => { event.preventDefault(); map.fitBounds(bounds, { padding: [12, 12] }); });
      bar.append(link);
      return bar;
    },
  });
  new Home({ position: 'topleft' }).addTo(map);
  const closeUp = () => root.classList.toggle('close', map.getZoom() >= 1);
  map.on('zoomend', closeUp);
  closeUp();

  L.imageOverlay(byId('picture').src, bounds, { className: 'picture', alt: 'The mosaic in true colour' }).addTo(map);

  /* --- Themes: one band of codes over the picture -------------------------------------------- */

  const parse = (colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  // Cividis (Nuñez, Anderton and Renslow 2018): even in lightness for any colour vision.
  const ramp = ['#00224e', '#123570', '#3b496c', '#575d6d', '#707173', '#8a8678', '#a59c74', '#c3b369', '#e1cc55', '#fee838'].map(parse);
  const rampColour = (share) => {
    const at = Math.min(1, Math.max(0, share)) * (ramp.length - 1);
    const low = Math.min(ramp.length - 2, Math.floor(at));
    return ramp[low].map((value, channel) => Math.round(value + (ramp[low + 1][channel] - value) * (at - low)));
  };
  const greatest = (codes) => codes.reduce((most, code) => Math.max(most, code), 0);

  let chosenScene = null;
  const painters = {
    scene_index: (code) => {
      const scene = sceneOf.get(code);
      if (!scene) return null;
      return chosenScene !== null && scene.number !== chosenScene ? [...parse(scene.colour), 26] : [...parse(scene.colour), 255];
    },
    // What was seen clear is a tint, so that the picture shows and the rest stands out.
    state: (code) => (states.has(code) ? [...parse(states.get(code).colour), code === 3 ? 90 : 255] : null),
  };
  const numberPainter = (most) => (code) => [...rampColour(most ? code / most : 0), 255];
  const inside = bands.get('inside').codes;

  const paint = (canvas, codes, painter, isShown = () => true) => {
    const context = canvas.getContext('2d');
    const image = context.createImageData(codeCols, codeRows);
    const pixels = new Uint32Array(image.data.buffer);
    const known = new Map();
    const littleEndian = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1;
    codes.forEach((code, cell) => {
      if (!isShown(cell)) return;
      if (!known.has(code)) {
        const rgba = painter(code) || [0, 0, 0, 0];
        known.set(code, littleEndian
          ? ((rgba[3] << 24) | (rgba[2] << 16) | (rgba[1] << 8) | rgba[0]) >>> 0
          : ((rgba[0] << 24) | (rgba[1] << 16) | (rgba[2] << 8) | rgba[3]) >>> 0);
      }
      pixels[cell] = known.get(code);
    });
    context.putImageData(image, 0, 0);
  };
  const codesCanvas = (kind) => {
    const canvas = element('canvas', { class: `codes ${kind}` });
    canvas.width = codeCols;
    canvas.height = codeRows;
    return canvas;
  };

  const themeCanvas = codesCanvas('theme');
  // An SVG overlay takes any element that can be scaled.
  const themeLayer = L.svgOverlay(themeCanvas, bounds, { opacity: 0.75 });
  let theme = '';
  const key = byId('key');

  const keyOfScenes = () => {
    const list = element('ul');
    data.scenes.forEach((scene, number) => {
      const button = element('button', { type: 'button', class: 'link', 'data-scene': number }, scene.id);
      list.append(element('li', {}, swatch(scene.colours[0]), button, element('span', { class: 'share-text' }, percent(scene.given))));
    });
    return list;
  };
  const keyOfStates = () => {
    const list = element('ul');
    for (const state of data.states) list.append(element('li', {}, swatch(state.colour), state.what, element('span', { class: 'share-text' }, percent(state.share))));
    return list;
  };
  const keyOfNumbers = (band, most) => {
    const canvas = element('canvas', { 'aria-hidden': 'true' });
    canvas.width = 128;
    canvas.height = 1;
    const context = canvas.getContext('2d');
    for (let x = 0; x < 128; x += 1) {
      context.fillStyle = `rgb(${rampColour(x / 127).join(' ')})`;
      context.fillRect(x, 0, 1, 1);
    }
    const limit = band.unit === 'm' && most >= data.distanceLimit ? ' or more' : '';
    return element('div', {}, canvas,
      element('div', { class: 'ends' }, element('span', {}, `0 ${band.unit}`), element('span', {}, `${most} ${band.unit}${limit}`)),
      element('p', { class: 'hint' }, `${band.text} (band ${band.name} of ${band.file})`));
  };

  const showTheme = (name) => {
    theme = name;
    key.replaceChildren();
    if (!name) {
      themeLayer.remove();
      key.append(element('p', { class: 'hint' }, 'The mosaic in true colour, stretched for the eye: no values to measure with.'));
      return;
    }
    const band = bands.get(name);
    const most = greatest(band.codes);
    paint(themeCanvas, band.codes, painters[name] || numberPainter(most));
    themeLayer.addTo(map);
    key.append(name === 'scene_index' ? keyOfScenes() : name === 'state' ? keyOfStates() : keyOfNumbers(band, most));
    for (const radio of document.querySelectorAll('#themes input')) radio.checked = radio.value === name;
  };
  const addTheme = (value, title) => {
    const radio = element('input', { type: 'radio', name: 'theme', value });
    radio.addEventListener('change', () => showTheme(value));
    byId('themes').append(element('label', {}, radio, title));
  };
  addTheme('', 'True colour');
  for (const band of data.bands) if (band.title) addTheme(band.name, band.title);
  byId('opacity').addEventListener('input', (event) => themeLayer.setOpacity(event.target.value / 100));

  /* --- Lines ------------------------------------------------------------------------------- */

  const dark = window.matchMedia('(prefers-color-scheme: dark)');
  const ink = () => (dark.matches ? '#f2f4f6' : '#1b2025');
  const rings = (lines) => lines.map((ring) => ring.map(toPoint));
  const drawn = [];
  const addLines = (name, title, layer, isOn) => {
    const box = element('input', { type: 'checkbox', value: name });
    box.checked = isOn;
    if (isOn) layer.addTo(map);
    box.addEventListener('change', () => (box.checked ? layer.addTo(map) : layer.remove()));
    byId('lines').append(element('label', {}, box, title));
    drawn.push({ name, box, layer });
  };

  const missing = codesCanvas('missing');
  const stateCodes = bands.get('state').codes;
  paint(missing, stateCodes, (code) => [...parse((states.get(code) || data.states[3]).colour), 255],
    (cell) => inside[cell] && stateCodes[cell] !== 3);
  addLines('holes', 'Never seen clear', L.svgOverlay(missing, bounds, { opacity: 0.85 }), false);
  if (data.area.length) {
    addLines('area', 'Area', L.layerGroup([
      L.polyline(rings(data.area), { color: '#fff', weight: 4, opacity: 0.7, interactive: false }),
      L.polyline(rings(data.area), { color: '#0a5c9c', weight: 2, interactive: false }),
    ]), true);
  }
  const footprints = data.scenes.map((scene) => (scene.footprint.length
    ? L.polyline(rings(scene.footprint), { color: scene.colours[0], weight: 1.5, interactive: false }) : null));
  if (footprints.some(Boolean)) addLines('footprints', 'Footprints', L.layerGroup(footprints.filter(Boolean)), false);
  if (data.graticule.length) {
    const lines = data.graticule.flatMap(({ label, line }) => [
      L.polyline(line.map(toPoint), { color: ink(), weight: 0.7, opacity: 0.6, interactive: false }),
      L.marker(toPoint(line[0]), { interactive: false, keyboard: false,
        icon: L.divIcon({ className: 'graticule', html: element('span', {}, label), iconSize: null, iconAnchor: [-3, 16] }) }),
    ]);
    const layer = L.layerGroup(lines);
    dark.addEventListener('change', () => layer.eachLayer((each) => each.setStyle && each.setStyle({ color: ink() })));
    addLines('graticule', 'Coordinates', layer, false);
  }

  /* --- Scenes ------------------------------------------------------------------------------ */

  const shownFootprint = L.layerGroup().addTo(map);
  const chooseScene = (number) => {
    chosenScene = chosenScene === number ? null : number;
    shownFootprint.clearLayers();
    if (chosenScene !== null && data.scenes[chosenScene].footprint.length) {
      const lines = rings(data.scenes[chosenScene].footprint);
      shownFootprint.addLayer(L.polyline(lines, { color: '#fff', weight: 4, opacity: 0.6, interactive: false }));
      shownFootprint.addLayer(L.polyline(lines, { color: data.scenes[chosenScene].colours[0], weight: 2, interactive: false }));
    }
    for (const each of document.querySelectorAll('[data-scene], [data-row]')) {
      const own = each.dataset.scene ?? each.dataset.row;
      const isChosen = chosenScene !== null && Number(own) === chosenScene;
      each.classList.toggle('chosen', isChosen);
      if (each.dataset.scene !== undefined) each.setAttribute('aria-pressed', isChosen);
    }
    showTheme('scene_index');
  };
  const isAway = () => {
    const box = byId('map').getBoundingClientRect();
    return box.bottom < 80 || box.top > window.innerHeight - 80;
  };
  const reveal = () => { if (isAway()) byId('explore').scrollIntoView({ block: 'start' }); };
  document.addEventListener('click', (event) => {
    const scene = event.target.closest('[data-scene]');
    if (scene) {
      chooseScene(Number(scene.dataset.scene));
      reveal();
      return;
    }
    const place = event.target.closest('[data-box]');
    if (place) {
      const [west, north, east, south] = place.dataset.box.split(' ').map(Number);
      const box = L.latLngBounds(toPoint([west * grid.width, south * grid.height]), toPoint([east * grid.width, north * grid.height]));
      map.fitBounds(box.pad(0.5), { maxZoom: 3 });
      const holes = drawn.find(({ name }) => name === 'holes');
      if (!holes.box.checked) holes.box.click();
      reveal();
    }
  });
  document.addEventListener('keydown', (event) => {
    const mark = event.target.closest && event.target.closest('.mark');
    if (mark && (event.key === 'Enter' || event.key === ' ')) {
      event.preventDefault();
      chooseScene(Number(mark.dataset.scene));
    }
  });

  /* --- Places ------------------------------------------------------------------------------ */

  const why = (state, seen, clear) => {
    const looks = seen === 1 ? 'The only acquisition that observed it' : `Of ${seen} acquisitions that observed it,`;
    if (state === 3 && clear < 2) return seen === 1 ? `${looks} saw it clear.` : `${looks} this one alone saw it clear.`;
    if (state === 3) return `${looks} ${clear} saw it clear: ${data.composite}.`;
    const none = seen === 1 ? `${looks} did not see it clear` : `${looks} none saw it clear`;
    if (state === 2) return `${none}. The backstop fills it, clouds included.`;
    if (state === 1) return `${none}, and nothing fills it.`;
    return 'No acquisition observed it.';
  };
  const marker = L.circleMarker([0, 0], { radius: 7, color: '#fff', weight: 3, fill: false, interactive: false });
  const halo = L.circleMarker([0, 0], { radius: 9, color: '#1b2025', weight: 1.5, fill: false, interactive: false });

  const describe = (point) => {
    const cell = toCell(point);
    const place = byId('place');
    if (!isOnGrid(cell)) {
      place.replaceChildren(element('p', { class: 'hint' }, 'This place is outside of the mosaic.'));
      return;
    }
    const middle = { x: Math.floor(cell.x) + 0.5, y: Math.floor(cell.y) + 0.5 };
    const at = codePlace(cell);
    const value = (name) => bands.get(name).codes[at];
    const state = states.get(value('state'));
    const given = sceneOf.get(value('scene_index'));
    const scene = given && data.scenes[given.number];
    const facts = element('dl');
    const add = (title, ...content) => facts.append(element('dt', {}, title), element('dd', {}, ...content));
    if (scene) {
      add('Acquired', scene.time || 'unknown');
      if (given.isBackstop) add('Role', 'backstop, unmasked');
    }
    if (state) add('State', swatch(state.colour), state.what);
    for (const band of data.bands) {
      if (!band.title || ['scene_index', 'state', 'times_observed', 'times_clear'].includes(band.name)) continue;
      const number = value(band.name);
      const limit = band.unit === 'm' && number >= data.distanceLimit ? ' or more' : '';
      add(band.title, `${number} ${band.unit}${limit}`);
    }
    add('Seen clear', `${times(value('times_clear'))}, observed ${times(value('times_observed'))}`);
    if (scene) {
      add('Clouds by', scene.detector || 'unknown');
      add('Offset', scene.offset || 'unknown');
    }
    if (data.hasArea) add('In the area', inside[at] ? 'yes' : 'no');
    add('Position', coordinates(middle));
    add(grid.crs, inCrs(middle));
    add('Cell', `row ${Math.floor(cell.y)}, column ${Math.floor(cell.x)}`);
    const [row, col] = [Math.floor(cell.y), Math.floor(cell.x)];
    place.replaceChildren(
      element('h3', {}, ...(scene ? [swatch(given.colour), scene.id] : ['No scene'])),
      element('p', {}, why(value('state'), value('times_observed'), value('times_clear'))),
      facts,
    );
    if (codeCols < grid.width || codeRows < grid.height) {
      place.append(element('p', { class: 'hint' }, `The page holds the values of ${codeCols} × ${codeRows} of ${grid.width} × ${grid.height} cells; these are of the nearest one.`));
    }
    place.append(
      element('p', { class: 'hint' }, 'Why each other scene lost, beside the mosaic:'),
      element('code', {}, `cloudbuster explain ${data.name}.json --row ${row} --col ${col}`),
    );
    const target = L.latLng(toPoint([middle.x, middle.y]));
    for (const ring of [halo, marker]) ring.setLatLng(target).addTo(map);
    const panel = place.parentElement;
    if (panel.scrollHeight > panel.clientHeight) panel.scrollTop = place.offsetTop - panel.offsetTop;
  };
  map.on('click', (event) => describe(event.latlng));
  map.getContainer().addEventListener('pointerdown', () => byId('map').classList.remove('keys'));
  map.getContainer().addEventListener('keydown', (event) => {
    byId('map').classList.add('keys');
    if (event.key === 'Enter' && event.target === map.getContainer()) describe(map.getCenter());
  });
  const seek = byId('seek');
  seek.hidden = !data.lattice;
  seek.addEventListener('submit', (event) => {
    event.preventDefault();
    const found = byId('at').value.match(/^\s*([+-]?\d+(?:\.\d+)?)\s*°?\s*([NS]?)[\s,;]+([+-]?\d+(?:\.\d+)?)\s*°?\s*([EW]?)\s*$/i);
    const sign = (letter) => (/[SW]/i.test(letter) ? -1 : 1);
    const cell = found && cellOf({ lat: sign(found[2]) * Number(found[1]), lon: sign(found[4]) * Number(found[3]) });
    byId('at').setAttribute('aria-invalid', !cell);
    if (!cell) return;
    const point = L.latLng(toPoint([cell.x, cell.y]));
    if (isOnGrid(cell)) map.panTo(point);
    describe(point);
  });
  const where = byId('where');
  map.on('mousemove', (event) => {
    const cell = toCell(event.latlng);
    where.textContent = isOnGrid(cell) ? coordinates(cell) : '';
  });
  map.on('mouseout', () => { where.textContent = ''; });

  document.querySelector('#themes input').checked = true;
  showTheme('');
})();
