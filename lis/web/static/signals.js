// What a technician hears without looking: good, repeat and wrong differ in pitch, in rhythm and in sound.

const MUTE = "lis.mute";

/** Kind -> its sound: wave, and beeps as [hertz, begins at ms, lasts ms]. */
export const SOUNDS = {
  good: { wave: "sine", beeps: [[1320, 0, 110]] },
  repeat: { wave: "triangle", beeps: [[740, 0, 90], [740, 150, 90]] },
  wrong: { wave: "square", beeps: [[196, 0, 220], [165, 280, 220], [196, 560, 360]] },
};
const LOUD = 0.18;

let context = null;

// The first use of the loudspeaker takes long: not when the first answer is due, but after the first key.
document.addEventListener("keydown", () => (window.requestIdleCallback ?? setTimeout)(awake), { once: true });

function awake() {
  if (muted() || !window.AudioContext) return null;
  try {
    context ??= new AudioContext();
    if (context.state === "suspended") context.resume().catch(() => {});
  } catch {
    // no loudspeaker: colour, shape and words say the same
  }
  return context;
}

export const muted = () => localStorage.getItem(MUTE) === "1";

/** Turn the sound off or on again; this browser remembers it. */
export function mute(off) {
  if (off) localStorage.setItem(MUTE, "1");
  else localStorage.removeItem(MUTE);
}

/** Give a sound, unless it is off; tells the page which (event lis:signal). */
export function signal(kind) {
  document.dispatchEvent(new CustomEvent("lis:signal", { detail: { kind, muted: muted() } }));
  if (!awake()) return;
  try {
    const { wave, beeps } = SOUNDS[kind];
    for (const [pitch, from, length] of beeps) beep(wave, pitch, context.currentTime + from / 1000, length / 1000);
  } catch {
    // as above
  }
}

function beep(wave, pitch, from, length) {
  const tone = context.createOscillator();
  const volume = context.createGain();
  tone.type = wave;
  tone.frequency.value = pitch;
  volume.gain.setValueAtTime(0, from);
  volume.gain.linearRampToValueAtTime(LOUD, from + 0.008);
  volume.gain.setValueAtTime(LOUD, from + length - 0.02);
  volume.gain.linearRampToValueAtTime(0, from + length);
  tone.connect(volume).connect(context.destination);
  tone.start(from);
  tone.stop(from + length);
}
