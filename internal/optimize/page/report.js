"use strict";
document.querySelectorAll(".stack").forEach(function (stack) {
  var range = stack.querySelector("input");
  var move = function () { stack.style.setProperty("--at", range.value + "%"); };
  range.addEventListener("input", move);
  stack.querySelectorAll("img").forEach(function (img) { img.style.setProperty("--w", img.getAttribute("width")); });
  move();
});
var sharp = function () { document.documentElement.style.setProperty("--dpr", window.devicePixelRatio || 1); };
window.addEventListener("resize", sharp);
sharp();
