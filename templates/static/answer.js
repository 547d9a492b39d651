// The answer to an application goes on by itself; the button is for browsers
// in which this file does not run.
document.getElementById("answer").requestSubmit();
