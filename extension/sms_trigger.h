// The row trigger that turns an application's row into a message.
#pragma once

namespace byoc {

// Registers the callbacks that drop cached trigger definitions; called once at load.
void install_trigger_callbacks();

}  // namespace byoc
