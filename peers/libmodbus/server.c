/* A Modbus server on libmodbus: many TCP ports in one thread, or one RTU line.
 *
 *   server tcp COUNT                      listens on COUNT free ports of 127.0.0.1, and answers any unit
 *   server rtu PATH BAUD PARITY UNIT      PARITY is N, E or O
 *
 * Standard input, up to its end, says what the registers hold: lines of TABLE ADDRESS VALUE, the tables being 0 coils,
 * 1 discrete inputs, 3 input registers, 4 holding registers, the addresses 0 to 9999. Prints "ready" and the ports once
 * it listens.
 */
#include <errno.h>
#include <modbus.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TABLE_SIZE = 10000, MOST_SOCKETS = 4096 };

static void fail(const char *what) {
    fprintf(stderr, "%s: %s\n", what, modbus_strerror(errno));
    exit(1);
}

static modbus_mapping_t *read_mapping(void) {
    modbus_mapping_t *mapping = modbus_mapping_new(TABLE_SIZE, TABLE_SIZE, TABLE_SIZE, TABLE_SIZE);
    unsigned table, address, value;
    if (!mapping) fail("mapping");
    while (scanf("%u %u %u", &table, &address, &value) == 3) {
        if (address >= TABLE_SIZE) continue;
        switch (table) {
        case 0: mapping->tab_bits[address] = value; break;
        case 1: mapping->tab_input_bits[address] = value; break;
        case 3: mapping->tab_input_registers[address] = value; break;
        case 4: mapping->tab_registers[address] = value; break;
        }
    }
    return mapping;
}

static void serve_tcp(int count, modbus_mapping_t *mapping) {
    static struct pollfd sockets[MOST_SOCKETS];
    uint8_t query[MODBUS_TCP_MAX_ADU_LENGTH];
    modbus_t *context = NULL;
    int used = count;
    printf("ready");
    for (int n = 0; n < count; n++) {
        struct sockaddr_in address;
        socklen_t size = sizeof address;
        context = modbus_new_tcp("127.0.0.1", 0);
        int listening = modbus_tcp_listen(context, 16);
        if (listening < 0 || getsockname(listening, (struct sockaddr *)&address, &size)) fail("listen");
        sockets[n] = (struct pollfd){.fd = listening, .events = POLLIN};
        printf(" %d", ntohs(address.sin_port));
    }
    puts("");
    fflush(stdout);
    while (poll(sockets, used, -1) >= 0) {
        for (int n = 0; n < used; n++) {
            if (!sockets[n].revents) continue;
            if (n < count) {
                int listening = sockets[n].fd, accepted = modbus_tcp_accept(context, &listening);
                if (accepted >= 0 && used < MOST_SOCKETS)
                    sockets[used++] = (struct pollfd){.fd = accepted, .events = POLLIN};
                continue;
            }
            modbus_set_socket(context, sockets[n].fd);
            int length = modbus_receive(context, query);
            if (length > 0) modbus_reply(context, query, length, mapping);
            if (length < 0) {
                close(sockets[n].fd);
                sockets[n--] = sockets[--used];
            }
        }
    }
    fail("poll");
}

static void serve_rtu(const char *path, int baud, char parity, int unit, modbus_mapping_t *mapping) {
    uint8_t query[MODBUS_RTU_MAX_ADU_LENGTH];
    modbus_t *context = modbus_new_rtu(path, baud, parity, 8, 1);
    if (!context || modbus_set_slave(context, unit) || modbus_connect(context)) fail(path);
    puts("ready");
    fflush(stdout);
    for (;;) {
        int length = modbus_receive(context, query);
        if (length > 0) modbus_reply(context, query, length, mapping);
        if (length < 0 && errno == EIO) fail(path);
    }
}

int main(int argc, char **argv) {
    if (argc == 3 && !strcmp(argv[1], "tcp") && atoi(argv[2]) > 0 && atoi(argv[2]) < MOST_SOCKETS / 2)
        serve_tcp(atoi(argv[2]), read_mapping());
    if (argc == 6 && !strcmp(argv[1], "rtu"))
        serve_rtu(argv[2], atoi(argv[3]), argv[4][0], atoi(argv[5]), read_mapping());
    fputs("server tcp COUNT | server rtu PATH BAUD PARITY UNIT\n", stderr);
    return 2;
}
