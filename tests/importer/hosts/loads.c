/* A host that loads the library when it needs it: what it starts again would not. */
#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>

int main(int argc, char **argv)
{
	if (argc != 3) {
		fprintf(stderr, "main runs in the helper\n");
		return 9;
	}
	void *library = dlopen(argv[2], RTLD_NOW);
	int (*unpack)(const char *, bool) = library ? (int (*)(const char *, bool))dlsym(library, "unpack") : NULL;
	if (!unpack) {
		fprintf(stderr, "%s\n", dlerror());
		return 1;
	}
	int by_itself = unpack(argv[1], false);
	printf("Program::this: %d\n", by_itself);
	return by_itself != 2;
}
