// From key presses to a code. A wedge scanner types; what it types must not depend on the input method, on
// CapsLock, or on the control characters that it puts around a code. Nothing here touches the page.

const ENDS = new Set(["Enter", "NumpadEnter", "Tab"]);
const SIGNS = { Minus: "-", NumpadSubtract: "-", BracketRight: "]", Slash: "/", NumpadDivide: "/", Period: ".", NumpadDecimal: ".", Space: " " };
const AIM = /^\][A-Z][0-9A-Z]/; // ]C1 and the like: which symbology was read

/** What a key types whatever the input method makes of it: from its place on the keyboard. */
function byPlace(code) {
  const found = /^(?:Digit|Numpad)(\d)$|^Key([A-Z])$/.exec(code);
  return found ? (found[1] ?? found[2]) : (SIGNS[code] ?? "");
}

/**
 * What a key press means: {end}, {erase}, {char} or {skip} (a control character of the scanner);
 * null for keys that are none of the scan's business.
 */
export function meaning(event) {
  if (ENDS.has(event.code) || event.key === "Enter" || event.key === "Tab") return { end: true, tab: event.code === "Tab" || event.key === "Tab" };
  if (event.ctrlKey && !event.altKey && !event.metaKey) {
    if (event.code === "KeyM" || event.code === "KeyJ") return { end: true, tab: false }; // CR and LF as control keys
    return event.code === "BracketRight" || event.code === "Backslash" ? { skip: true } : null; // GS, FS
  }
  if (event.altKey || event.metaKey) return null;
  if (event.code === "Backspace" || event.key === "Backspace") return { erase: true };
  const throughIme = event.isComposing || event.keyCode === 229 || event.key === "Process" || event.key === "Unidentified";
  if (!throughIme && event.key.length === 1 && event.key >= " " && event.key <= "~") return { char: event.key };
  const char = byPlace(event.code);
  if (char) return { char };
  return event.key.length === 1 && event.key < " " ? { skip: true } : null;
}

/** A code without what scanners put around it: blanks, control characters, wide digits, the AIM prefix. */
export function clean(raw) {
  const plain = raw.normalize("NFKC").replace(/<(?:GS|FNC1|CR|LF)>/gi, "").replace(/[\s\p{C}]/gu, "").toUpperCase();
  return plain.replace(AIM, "");
}

/** Whether the digits of a code end in their Luhn check digit. */
export function luhn(code) {
  const digits = code.replace(/\D/g, "");
  let sum = 0;
  for (let i = 0; i < digits.length; i++) {
    const digit = Number(digits[digits.length - 1 - i]);
    sum += i % 2 ? (digit > 4 ? 2 * digit - 9 : 2 * digit) : digit;
  }
  return sum % 10 === 0;
}

/** Whether a resident identity number ends in its check character (GB 11643). */
export function resident(code) {
  if (!/^\d{17}[\dX]$/.test(code)) return false;
  const sum = [...code.slice(0, 17)].reduce((all, digit, i) => all + Number(digit) * (2 ** (17 - i) % 11), 0);
  return "10X98765432"[sum % 11] === code[17];
}

/**
 * What a code is: {kind: tube, plate, pool or person}, or {wrong: merged, check or shape}.
 * patterns: [{name, regex, luhn}] as the laboratory has them.
 */
export function judge(code, patterns) {
  for (const one of patterns) {
    if (new RegExp(`^(?:${one.regex})$`).test(code)) return one.luhn && !luhn(code) ? { wrong: "check" } : { kind: one.name };
  }
  if (resident(code)) return { kind: "person" };
  const begins = patterns.some((one) => new RegExp(`^(?:${one.regex})`).test(code));
  return { wrong: begins ? "merged" : "shape" };
}

/** Collects key presses until a code is whole. press() says {code} at its end, {taken} if the key was for it. */
export function reader() {
  let typed = "";
  return {
    get text() {
      return typed;
    },
    clear() {
      typed = "";
    },
    press(event, shown = "") {
      const found = meaning(event);
      if (!found) return {};
      if (found.skip) return { taken: true };
      if (found.end) {
        const code = clean(typed || shown);
        if (found.tab && !code) return {}; // an empty box lets the Tab key go on
        typed = "";
        return { taken: true, code };
      }
      if (found.erase) {
        if (!typed) return {};
        typed = typed.slice(0, -1);
      } else {
        typed = (typed + found.char).slice(0, 200);
      }
      return { taken: true };
    },
  };
}
