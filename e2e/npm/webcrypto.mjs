// Node 18, Debian's, has the Web Crypto API in a module and not as a global, where these libraries look for it.
import { webcrypto } from "node:crypto";

globalThis.crypto ??= webcrypto;
