// Text made safe to stand in markup.

/** For text and for attributes in double or single quotes, in HTML and in XML. */
export function escapeText(text: string): string {
  const entities: Record<string, string> = {
    '&': '&amp;',
    '<': '&lt;',
    '>': '&gt;',
    '"': '&quot;',
    "'": '&#39;',
  }
  return printable(text).replace(/[&<>"']/g, (c) => entities[c]!)
}

/** What XML allows: control characters and half surrogate pairs become U+FFFD. */
export function printable(text: string): string {
  return text.replace(/(?![\t\n\r])\p{Cc}|\p{Surrogate}|[\ufffe\uffff]/gu, '\ufffd')
}
