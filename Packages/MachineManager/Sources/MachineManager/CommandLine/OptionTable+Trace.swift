extension OptionTable {
    static var trace: OptionSpec {
        option(
            .trace, "trace", .many, .implied("enable"),
            [
                ParameterSpec("enable", .text(OptionLimit.text), "events by name; * and ? stand for any text and any character"),
                ParameterSpec("file", .path(OptionLimit.path), "file with one name or pattern a line"),
                ParameterSpec("events", .path(OptionLimit.path), "same as file"),
                ParameterSpec("type", .choice(["events", "scopes", "all"], later: []), "all events, all scopes, or both"),
            ],
            "write events to the log")
    }
}
