// What a line of markdown may begin with.
export const ATX = /^ {0,3}(#{1,6})(?:[ \t]+|$)/;
export const FENCE = /^( {0,3})(`{3,}(?=[^`]*$)|~{3,})[ \t]*([^\s`]*)/;
export const RULE = /^ {0,3}(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,})$/;
export const ITEM = /^( {0,3})([-*+]|\d{1,9}[.)])( {1,4}(?! )|\t| +(?=\S)|$)/;
export const SETEXT = /^ {0,3}(=+|-+)[ \t]*$/;
// The beginning of a line that may become a marker: not shown before it is clear.
export const UNCLEAR = /^[\s\-*+_=#>`~|:\d.)]{0,14}$|^\s*`{3,}[^\s`]*$/;

// columns says how many characters of an indent make n columns, -1: it is smaller.
export function columns(indent, n) {
  let have = 0;
  for (let i = 0; i < indent.length; i++) {
    if (have >= n) return i;
    have += indent[i] === "\t" ? 4 - (have % 4) : 1;
  }
  return have >= n ? indent.length : -1;
}
