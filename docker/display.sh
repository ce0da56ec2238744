# Forgets a display that cannot be reached: a window without one ends its program, and programs ask DISPLAY.
# Local displays (:0) have a socket, which compose.yaml passes in; others (host:0) are taken as they are.
case "${DISPLAY:-}" in
  :*)
    lgtc_display=${DISPLAY#:}
    [ -S "${LGTC_X11_SOCKETS:-/tmp/.X11-unix}/X${lgtc_display%%.*}" ] || unset DISPLAY
    unset lgtc_display
    ;;
esac
