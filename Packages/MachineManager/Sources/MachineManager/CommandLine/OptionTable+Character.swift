extension OptionTable {
    /// Monitors, serial ports and what stands behind them.
    static var character: [OptionSpec] {
        [
            option(
                .qmp, "qmp", .one, .address("unix:PATH|tcp:IP:PORT"), server + [ParameterSpec("iothread", .unsupported)],
                "QMP monitor; needs server and nowait"),
            option(
                .monitor, "mon", .one, .implied("chardev"),
                [
                    ParameterSpec("chardev", .text(OptionLimit.text), required: true, "id of a -chardev socket"),
                    ParameterSpec("mode", .choice(["control"], later: []), required: true),
                    ParameterSpec("id", .text(OptionLimit.text)),
                ],
                "QMP monitor on a character device"),
            option(
                .serial, "serial", .one, .variants(what: "type", backends(named: false)),
                "serial port; chardev:ID takes a -chardev"),
            option(.chardev, "chardev", .many, .variants(what: "type", backends(named: true)), "character device"),
        ]
    }

    private static var server: [ParameterSpec] {
        [
            ParameterSpec("server", .flag, "listen; required"),
            ParameterSpec("nowait", .flag, "do not wait for a client; required"),
            ParameterSpec("wait", .onlyOff, "same as nowait"),
        ]
    }

    /// The back ends of `-chardev`, which have an id, and of `-serial`, which have none.
    private static func backends(named: Bool) -> [OptionVariant] {
        let id = named ? [ParameterSpec("id", .text(OptionLimit.text), required: true)] : []
        let socket = [
            ParameterSpec("path", .path(OptionLimit.socketPath), "Unix socket"),
            ParameterSpec("port", .integer(1...65535), "TCP socket; for -mon only"),
            ParameterSpec("host", .text(OptionLimit.text), "IPv4 address of the TCP socket; default 0.0.0.0"),
        ]
        return [
            OptionVariant("stdio", "standard input and output; one user", id),
            OptionVariant("pty", "pseudo-terminal", id),
            OptionVariant("file", "output to a file", id + [ParameterSpec("path", .path(OptionLimit.path), required: true)]),
            OptionVariant("socket", "socket server; needs server and nowait", id + socket + server),
            OptionVariant(unsupported: "redirect-to-log"),
        ]
    }
}
