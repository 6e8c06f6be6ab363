// Entry of every page. Each module does nothing on a page that lacks its elements, and every page works without it.
import { keepTimesFresh } from "./times.js";
import { watchTheme } from "./theme.js";
import { watchCopyButtons } from "./copy.js";
import { watchDialogs } from "./dialogs.js";
import { watchMenus, watchSearchKey } from "./keys.js";
import { watchChecks } from "./checks.js";
import { startLive } from "./live.js";

watchTheme();
keepTimesFresh();
watchCopyButtons();
watchDialogs();
watchMenus();
watchSearchKey();
watchChecks();
startLive();
