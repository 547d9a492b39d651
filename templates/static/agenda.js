// Comfort for the agenda: the now-line moves, a click on free time begins an
// event there, and the end of an event follows its start. Nothing needs it.

const week = document.querySelector(".week");

if (week) {
  const line = week.querySelector(".now");
  const first = Number(week.dataset.first);
  const hours = Number(week.dataset.hours);
  const move = () => {
    const now = new Date();
    const hour = now.getHours() - first;
    if (!line) return;
    line.hidden = hour < 0 || hour >= hours;
    line.style.setProperty("--t", hour);
    line.style.setProperty("--tm", now.getMinutes());
  };
  // The page was made for the academy's clock; another one on this machine
  // would put the line in the wrong place.
  const same = line && Math.abs(new Date().getHours() - first - Number(getComputedStyle(line).getPropertyValue("--t"))) <= 1;
  if (same) {
    move();
    setInterval(move, 60_000);
  }

  if (week.dataset.new) {
    week.addEventListener("click", (event) => {
      const column = event.target.closest(".week-col");
      if (!column || event.target.closest("a") || getSelection()?.toString()) return;
      const box = column.getBoundingClientRect();
      const half = Math.floor(((event.clientY - box.top) / box.height) * hours * 2);
      const minutes = first * 60 + Math.max(0, Math.min(half, hours * 2 - 1)) * 30;
      const time = `${String(Math.floor(minutes / 60)).padStart(2, "0")}:${String(minutes % 60).padStart(2, "0")}`;
      location.href = `${week.dataset.new}?day=${column.dataset.day}&time=${encodeURIComponent(time)}`;
    });
  }
}

const field = (id) => document.getElementById(id);
const [startDay, startTime, endDay, endTime] = ["start_day", "start_time", "end_day", "end_time"].map(field);

if (startDay && endDay && startTime && endTime) {
  const at = (day, time) => new Date(`${day.value}T${time.value || "00:00"}`).getTime();
  const two = (n) => String(n).padStart(2, "0");
  let length = at(endDay, endTime) - at(startDay, startTime);
  const follow = () => {
    const start = at(startDay, startTime);
    if (Number.isNaN(start) || Number.isNaN(length) || length < 0) return;
    const end = new Date(start + length);
    endDay.value = `${end.getFullYear()}-${two(end.getMonth() + 1)}-${two(end.getDate())}`;
    endTime.value = `${two(end.getHours())}:${two(end.getMinutes())}`;
  };
  const measure = () => (length = at(endDay, endTime) - at(startDay, startTime));
  startDay.addEventListener("change", follow);
  startTime.addEventListener("change", follow);
  endDay.addEventListener("change", measure);
  endTime.addEventListener("change", measure);
}
