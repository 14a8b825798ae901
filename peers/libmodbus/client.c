/* A Modbus client on libmodbus.
 *
 *   client tcp PORT UNIT FUNCTION ADDRESS COUNT                  of 127.0.0.1; prints one value a line
 *   client rtu PATH BAUD PARITY UNIT FUNCTION ADDRESS COUNT
 *   client load SECONDS FUNCTION ADDRESS COUNT PORT...           a thread for each port; prints the number of replies,
 *                                                                the seconds they took, and those of CPU
 */
#include <errno.h>
#include <modbus.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct load {
    int port, function, address, count;
    double seconds;
};

static atomic_long replies;

static void fail(const char *what) {
    fprintf(stderr, "%s: %s\n", what, modbus_strerror(errno));
    exit(1);
}

static double now_s(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static int read_values(modbus_t *context, int function, int address, int count, uint16_t *values) {
    uint8_t bits[MODBUS_MAX_READ_BITS];
    int got = -1;
    if (function == 3) return modbus_read_registers(context, address, count, values);
    if (function == 4) return modbus_read_input_registers(context, address, count, values);
    if (function == 1) got = modbus_read_bits(context, address, count, bits);
    if (function == 2) got = modbus_read_input_bits(context, address, count, bits);
    for (int n = 0; n < got; n++) values[n] = bits[n];
    return got;
}

static void *load_one(void *argument) {
    struct load *load = argument;
    uint16_t values[MODBUS_MAX_READ_BITS];
    long done = 0;
    modbus_t *context = modbus_new_tcp("127.0.0.1", load->port);
    if (!context || modbus_connect(context)) fail("connect");
    modbus_set_slave(context, 1);
    for (double until = now_s() + load->seconds; now_s() < until; done++)
        if (read_values(context, load->function, load->address, load->count, values) != load->count) fail("read");
    replies += done;
    modbus_close(context);
    modbus_free(context);
    return NULL;
}

static int run_load(double seconds, int function, int address, int count, char **ports, int devices) {
    pthread_t *threads = calloc(devices, sizeof *threads);
    struct load *loads = calloc(devices, sizeof *loads);
    double started = now_s();
    for (int n = 0; n < devices; n++) {
        loads[n] = (struct load){atoi(ports[n]), function, address, count, seconds};
        if (pthread_create(&threads[n], NULL, load_one, &loads[n])) fail("thread");
    }
    for (int n = 0; n < devices; n++) pthread_join(threads[n], NULL);
    printf("%ld %f %f\n", (long)replies, now_s() - started, (double)clock() / CLOCKS_PER_SEC);
    return 0;
}

static int print_values(modbus_t *context, int unit, int function, int address, int count) {
    uint16_t values[MODBUS_MAX_READ_BITS];
    if (!context || modbus_set_slave(context, unit) || modbus_connect(context)) fail("connect");
    if (read_values(context, function, address, count, values) != count) fail("read");
    for (int n = 0; n < count; n++) printf("%u\n", values[n]);
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 7 && !strcmp(argv[1], "tcp"))
        return print_values(modbus_new_tcp("127.0.0.1", atoi(argv[2])), atoi(argv[3]), atoi(argv[4]), atoi(argv[5]),
                            atoi(argv[6]));
    if (argc == 9 && !strcmp(argv[1], "rtu"))
        return print_values(modbus_new_rtu(argv[2], atoi(argv[3]), argv[4][0], 8, 1), atoi(argv[5]), atoi(argv[6]),
                            atoi(argv[7]), atoi(argv[8]));
    if (argc > 6 && !strcmp(argv[1], "load"))
        return run_load(atof(argv[2]), atoi(argv[3]), atoi(argv[4]), atoi(argv[5]), argv + 6, argc - 6);
    fputs("client tcp PORT UNIT FUNCTION ADDRESS COUNT | client rtu PATH BAUD PARITY UNIT FUNCTION ADDRESS COUNT |"
          " client load SECONDS FUNCTION ADDRESS COUNT PORT...\n", stderr);
    return 2;
}
