// htmx as one classic script, so that it runs before the page's modules.
import htmx from "htmx.org";

window.htmx = htmx;
