import { textElement } from './dom.ts';
import { crossMark, noteMark, restoreMark, snapshotMark } from './marks.ts';
import type { Theme } from './theme.ts';

const [WIDTH, HEIGHT] = [26, 14];

type Sign = [name: string, draw: (draw: CanvasRenderingContext2D, theme: Theme) => void];

const bar = (
  draw: CanvasRenderingContext2D,
  thick: number,
  fill: string | CanvasPattern,
  from = 0,
  to = WIDTH,
) => {
  draw.fillStyle = fill;
  draw.fillRect(from, (HEIGHT - thick) / 2, to - from, thick);
};

const SIGNS: readonly Sign[] = [
  ['booting', (draw, theme) => bar(draw, 9, theme.hatched.booting)],
  ['idle', (draw, theme) => bar(draw, 4, theme.idle)],
  ['job', (draw, theme) => bar(draw, 14, theme.busy)],
  [
    'job failed',
    (draw, theme) => {
      bar(draw, 14, theme.busy);
      draw.fillStyle = theme.bad;
      draw.fillRect(0, 10, WIDTH, 4);
    },
  ],
  [
    'job killed',
    (draw, theme) => {
      bar(draw, 14, theme.busy, 0, 18);
      crossMark(draw, 18, 7, 5, theme);
    },
  ],
  ['draining', (draw, theme) => bar(draw, 9, theme.hatched.draining)],
  ['desired capacity', (draw, theme) => bar(draw, 2, theme.desired)],
  ['queued jobs', (draw, theme) => bar(draw, 12, theme.queued)],
  ['warm start', (draw, theme) => restoreMark(draw, 13, 7, 'restored', theme)],
  ['previous snapshot', (draw, theme) => restoreMark(draw, 13, 7, 'previous', theme)],
  ['cold start', (draw, theme) => restoreMark(draw, 13, 7, 'cold', theme)],
  ['snapshot promoted', (draw, theme) => snapshotMark(draw, 13, 7, 'promoted', theme)],
  ['quarantined', (draw, theme) => snapshotMark(draw, 13, 7, 'quarantined', theme)],
  ['event', (draw, theme) => noteMark(draw, 13, 7, 'warning', theme)],
];

/** Fills the legend with the signs in the present colours. */
export function drawLegend(list: HTMLElement, theme: Theme): void {
  list.replaceChildren(
    ...SIGNS.map(([name, sign]) => {
      const canvas = document.createElement('canvas');
      canvas.className = 'sign-picture';
      canvas.setAttribute('aria-hidden', 'true');
      canvas.width = WIDTH * devicePixelRatio;
      canvas.height = HEIGHT * devicePixelRatio;
      const draw = canvas.getContext('2d');
      if (draw) {
        draw.scale(devicePixelRatio, devicePixelRatio);
        sign(draw, theme);
      }
      const item = document.createElement('li');
      item.className = 'sign';
      item.append(canvas, textElement('span', name));
      return item;
    }),
  );
}
