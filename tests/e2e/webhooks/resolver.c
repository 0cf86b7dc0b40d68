/* A resolver in an attacker's hands: what *.rebinding.test means stands in the file that RESOLVER_ANSWER names, and may change at any time. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int (*resolve)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **result) {
  resolve real = (resolve)dlsym(RTLD_NEXT, "getaddrinfo");
  char address[64] = "";
  FILE *answer = NULL;
  if (node != NULL && strstr(node, ".rebinding.test") != NULL) answer = fopen(getenv("RESOLVER_ANSWER"), "r");
  if (answer == NULL) return real(node, service, hints, result);
  if (fscanf(answer, "%63s", address) != 1) address[0] = '\0';
  fclose(answer);
  return real(address, service, hints, result);
}
