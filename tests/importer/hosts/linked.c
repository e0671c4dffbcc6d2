/* A host that is linked with the library: what it starts again becomes the helper before main. */
#include <stdbool.h>
#include <stdio.h>

int unpack(const char *root, bool linked);

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "main runs in the helper\n");
		return 9;
	}
	int by_itself = unpack(argv[1], false), as_it_says = unpack(argv[1], true);
	printf("Program::this: %d, Program::at: %d\n", by_itself, as_it_says);
	return !(by_itself == 2 && as_it_says == 0);
}
