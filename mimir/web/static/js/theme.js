// Runs before the first paint, so that a chosen theme never flashes. Dark is what nobody chose.
{
  const bright = matchMedia("(prefers-color-scheme: light)");
  const apply = () => {
    const chosen = localStorage.getItem("mimir.theme");
    const light = chosen === "light" || (chosen === "system" && bright.matches);
    document.documentElement.dataset.theme = light ? "light" : "dark";
  };
  bright.addEventListener("change", apply);
  addEventListener("mimir:theme", apply);
  apply();
}
