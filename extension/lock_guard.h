#pragma once

namespace byoc {

// From now on LOCK TABLE does not reach the extension's storage through a view.
void install_lock_guard();

}  // namespace byoc
