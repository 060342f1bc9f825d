// Whoever follows a link from elsewhere comes without the cookie, though it is there: coming from here, it is sent.
"use strict";
fetch("/api/v1/status?window=300").then((answer) => {
  if (answer.ok) location.replace("/");
});
