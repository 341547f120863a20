import type { Theme } from './theme.ts';

type Draw = CanvasRenderingContext2D;

/** Small signs of the timeline. Each has a shape of its own, so that none needs its colour. */

/** The result of a restore: a full disc for warm, half of one for the previous snapshot, a ring for cold. */
export function restoreMark(draw: Draw, x: number, y: number, outcome: string, theme: Theme): void {
  const radius = 4;
  draw.beginPath();
  draw.arc(x, y, radius, 0, 2 * Math.PI);
  draw.fillStyle = theme.panel;
  draw.fill();
  draw.lineWidth = 1.5;
  draw.strokeStyle = theme.warm;
  draw.stroke();
  if (outcome !== 'restored' && outcome !== 'previous') return;
  draw.beginPath();
  if (outcome === 'restored') draw.arc(x, y, radius, 0, 2 * Math.PI);
  else draw.arc(x, y, radius, Math.PI / 2, 1.5 * Math.PI);
  draw.fillStyle = theme.warm;
  draw.fill();
}

/** A note: a triangle that stands on its point. */
export function noteMark(draw: Draw, x: number, y: number, level: string, theme: Theme): void {
  const size = 5;
  draw.beginPath();
  draw.moveTo(x - size, y - size);
  draw.lineTo(x + size, y - size);
  draw.lineTo(x, y + size - 1);
  draw.closePath();
  draw.fillStyle = level === 'error' ? theme.bad : level === 'warning' ? theme.warn : theme.muted;
  draw.fill();
  draw.lineWidth = 1;
  draw.strokeStyle = theme.panel;
  draw.stroke();
}

/** A change of a pointer: a diamond, full if a snapshot was promoted, open otherwise. */
export function snapshotMark(draw: Draw, x: number, y: number, change: string, theme: Theme): void {
  const size = 5.5;
  draw.beginPath();
  draw.moveTo(x, y - size);
  draw.lineTo(x + size, y);
  draw.lineTo(x, y + size);
  draw.lineTo(x - size, y);
  draw.closePath();
  draw.fillStyle = change === 'promoted' ? theme.warm : theme.panel;
  draw.fill();
  draw.lineWidth = 1.5;
  draw.strokeStyle = change === 'promoted' ? theme.warm : theme.bad;
  draw.stroke();
}

/** A job that was killed: a cross over its end. */
export function crossMark(draw: Draw, x: number, y: number, size: number, theme: Theme): void {
  for (const [colour, width] of [
    [theme.panel, 4],
    [theme.bad, 2],
  ] as const) {
    draw.lineWidth = width;
    draw.strokeStyle = colour;
    draw.beginPath();
    draw.moveTo(x - size, y - size);
    draw.lineTo(x + size, y + size);
    draw.moveTo(x - size, y + size);
    draw.lineTo(x + size, y - size);
    draw.stroke();
  }
}
