// What evhttp refuses itself: requests that are malformed, too long, or of a method that it does not know.
#pragma once

struct bufferevent;

namespace byocd {

/// Such a refusal is an HTML page, and libevent 2.1 asks nobody about it. On this connection of a client it becomes a
/// problem document when it is about to be sent.
void replace_error_pages(bufferevent* connection);

}  // namespace byocd
