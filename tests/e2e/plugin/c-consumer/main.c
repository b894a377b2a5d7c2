#include <nemotron.h>
#include <stdio.h>

int main(void) {
  printf("%d\n", (int)nemotron_api_version());
  return 0;
}
