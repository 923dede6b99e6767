// Runs before the first paint, so that a chosen theme and language do not flash.
try {
  const s = JSON.parse(localStorage.getItem("outrider.settings") ?? "{}");
  if (s.theme === "light" || s.theme === "dark") document.documentElement.dataset.theme = s.theme;
  if (s.language) document.documentElement.lang = s.language === "zh" ? "zh-CN" : "en";
} catch {
  // no storage, or not ours: the system's choice holds
}
