// Node 18, Debian's, has the Web Crypto API in a module and not as a global, where these libraries look for it; and it
// tries only the first address of a name, where localhost may be ::1 and the provider listens on 127.0.0.1.
import { webcrypto } from "node:crypto";
import { setDefaultResultOrder } from "node:dns";

globalThis.crypto ??= webcrypto;
setDefaultResultOrder("ipv4first");
