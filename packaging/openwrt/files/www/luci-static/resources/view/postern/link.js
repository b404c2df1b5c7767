'use strict';
'require view';
'require fs';

/* A link, not a frame: Postern's pages forbid frames, and have a login of their own. Where they are is for the daemon to say: the port that
   is set, or the one beside it, because LuCI has the first. */
function ask(words) {
	return L.resolveDefault(fs.exec('/usr/sbin/postern', [ '--door', '/var/run/postern' ].concat(words)), {}).then(function(answer) {
		return answer.stdout || '';
	});
}

/* Null: the daemon does not answer. */
function place(access, status) {
	var secure = /^access\.https = true$/m.test(access),
	    wanted = access.match(secure ? /^access\.https_port = (\d+)$/m : /^access\.port = (\d+)$/m);
	if (!wanted)
		return null;
	var moved = status.match(new RegExp('Port ' + wanted[1] + ' of [^"]* the admin page is at [^"]*:(\\d+)\\.'));
	return (secure ? 'https://' : 'http://') + location.hostname + ':' + (moved || wanted)[1] + '/';
}

return view.extend({
	load: function() {
		return Promise.all([ ask([ 'get', 'access' ]), ask([ 'status', '--json' ]) ]);
	},
	render: function(said) {
		var where = place(said[0], said[1]);
		if (!where)
			return E('p', {}, [ _('Postern does not answer. On the console: /etc/init.d/postern start, then logread -e postern.') ]);
		return E('p', {}, [
			E('a', { 'class': 'btn cbi-button', 'href': where, 'target': '_blank', 'rel': 'noopener' }, _('Open Postern'))
		]);
	},
	handleSave: null, handleSaveApply: null, handleReset: null
});
