/** Colours of the page for its canvases, out of the style sheet, and the patterns that tell phases apart without colour. */
export type Theme = Record<ColourName, string> & {
  sans: string;
  mono: string;
  hatched: { booting: CanvasPattern | string; draining: CanvasPattern | string };
};

const NAMES = [
  'page',
  'panel',
  'ink',
  'muted',
  'line',
  'grid',
  'hover',
  'selected',
  'accent',
  'booting',
  'idle',
  'busy',
  'on-busy',
  'draining',
  'queued',
  'bad',
  'warn',
  'warm',
  'desired',
] as const;

type ColourName = (typeof NAMES)[number];

/** @param scale physical pixels per pixel of the page */
export function readTheme(scale: number): Theme {
  const style = getComputedStyle(document.documentElement);
  const value = (name: string) => style.getPropertyValue(`--${name}`).trim();
  const colours = Object.fromEntries(NAMES.map((name) => [name, value(name)])) as Record<ColourName, string>;
  return {
    ...colours,
    sans: value('sans'),
    mono: value('mono'),
    hatched: {
      booting: stripes(colours.booting, 'rising', scale),
      draining: stripes(colours.draining, 'upright', scale),
    },
  };
}

/** Booting has rising lines and draining upright ones, on a light ground of the same colour. */
function stripes(colour: string, direction: 'rising' | 'upright', scale: number): CanvasPattern | string {
  const size = Math.round(6 * scale);
  const tile = document.createElement('canvas');
  tile.width = size;
  tile.height = size;
  const draw = tile.getContext('2d');
  if (!draw) return colour;
  draw.fillStyle = colour;
  draw.globalAlpha = 0.38;
  draw.fillRect(0, 0, size, size);
  draw.globalAlpha = 1;
  if (direction === 'upright') draw.fillRect(0, 0, Math.max(1, Math.round(size / 3)), size);
  else {
    draw.strokeStyle = colour;
    draw.lineWidth = size / 3.2;
    draw.beginPath();
    for (const shift of [-size, 0, size]) {
      draw.moveTo(shift - 1, size + 1);
      draw.lineTo(shift + size + 1, -1);
    }
    draw.stroke();
  }
  const pattern = draw.createPattern(tile, 'repeat');
  // The canvases draw in pixels of the page, the pattern is in physical ones.
  pattern?.setTransform(new DOMMatrix().scale(1 / scale));
  return pattern ?? colour;
}
