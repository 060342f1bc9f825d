// Sets the chosen theme before anything is drawn.
"use strict";
try {
  document.documentElement.dataset.theme = localStorage.getItem("sidecar-theme") || "auto";
} catch {
  // Storage is forbidden: the system's theme will do.
}
